"""
Transforms: what happens to rows on their way from the source to the consumer, as `SyncConfig` says.

`transformer` is what a sync uses; it has a `plan` compiled for each shape of event. `layout` runs the steps over columns, `masks`
hide values; `expression` with `operators` and `functions` is the language of filters and derived fields. `keyless` keeps the
numbers of rows without a key right, `check` finds what is wrong before anything runs, `preview` shows it on real rows.
"""
