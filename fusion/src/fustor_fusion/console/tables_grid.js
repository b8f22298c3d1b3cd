// Rows of a table. Values are only ever text; Vue changes the cells that differ and leaves the rest, so nobody loses their place.
export default {
  props: { label: String, caption: String, columns: Array, rows: Array, words: Object },
  emits: ["sort", "open"],
  template: `
    <div class="grid-frame" :class="{ 'is-more': isMore }">
    <div class="grid-box" ref="box" role="region" tabindex="0" :aria-label="label" @scroll.passive="look">
      <table ref="table" class="console-table grid" :class="{ 'is-loose': !words.open }" role="table">
        <caption v-if="caption">{{ caption }}</caption>
        <thead>
          <tr role="row">
            <th v-if="words.open" scope="col" role="columnheader" class="grid-open"><span class="grid-hidden">{{ words.row }}</span></th>
            <th v-for="(column, at) in columns" :key="column.name" scope="col" role="columnheader"
                :aria-sort="column.sort || undefined" :class="{ 'is-number': column.is_number }">
              <button v-if="column.sort" type="button" class="console-sort" :title="column.type" @click="$emit('sort', at)">
                <span>{{ column.label }}</span><span v-if="column.is_key" class="grid-key" :title="words.key">{{ words.key }}</span>
                <q-icon :name="ways[column.sort]" aria-hidden="true" />
              </button>
              <span v-else>{{ column.label }}</span>
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          <tr v-for="row in rows" :key="row.key" role="row" :class="row.state ? 'is-' + row.state : ''">
            <td v-if="words.open" role="cell" class="grid-open" :data-label="row.title || words.row">
              <span v-if="row.note" class="grid-note">{{ row.note }}</span>
              <button type="button" :aria-label="words.open + ' ' + row.name" :title="words.open" @click="$emit('open', [row.key, -1])">
                <q-icon name="open_in_full" aria-hidden="true" />
              </button>
            </td>
            <td v-for="(cell, at) in row.cells" :key="at" role="cell" :data-label="columns[at] && columns[at].label"
                :class="[cell[1], { 'is-number': columns[at] && columns[at].is_number, 'is-fresh': row.fresh && row.fresh.includes(at) }]">
              <button v-if="cell[2]" type="button" class="grid-cut" :title="words.whole" @click="$emit('open', [row.key, at])"><bdi>{{ cell[0] }}</bdi></button>
              <bdi v-else>{{ cell[0] }}</bdi>
            </td>
          </tr>
        </tbody>
      </table>
    </div>
    </div>`,
  data() {
    return { ways: { none: "unfold_more", ascending: "arrow_upward", descending: "arrow_downward" }, isMore: false };
  },
  mounted() {
    this.sizes = new ResizeObserver(() => this.look());
    this.sizes.observe(this.$refs.box);
    this.sizes.observe(this.$refs.table);
  },
  unmounted() {
    this.sizes.disconnect();
  },
  methods: {
    // Whether there is more to the right: a shadow says so, where the browser shows no scroll bar.
    look() {
      const box = this.$refs.box;
      this.isMore = box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
    },
  },
};
