"""
What the built-in drivers say in their wizard's steps, so that it is there in both languages. Drivers of others are shown as they say it.
"""

from __future__ import annotations

from typing import Final

from fustor_web_ui.page import Page

BUILT_IN: Final = (
    "Files and folders",
    "A folder with all that is below it: names, sizes and times of files, and each change as it happens.",
    "Directory",
    "/path or file:///path",
    "Only files like these",
    "Patterns as in .gitignore: only files that match one are reported (directories always are).",
    "Leave out",
    "Patterns as in .gitignore: what matches, and all below it, is left out.",
    "Also file systems that are mounted below",
    "Descend into other file systems mounted below the root.",
    "Compare folders that can't be watched every (s)",
    "How often directories that can't be watched are compared.",
    "Report files that stay open every (s)",
    "A file that stays open for writing is reported this often.",
    "MariaDB / MySQL",
    "Every table of a server or of one database, and each change as it is committed, from the binary log.",
    "PostgreSQL",
    "Every table of a database, and each change as it is committed, by logical replication.",
    "Fusion",
    "User",
    "Password",
    "Encryption (TLS)",
    "on: refuse a connection without TLS; off: never; auto: the driver's documentation says.",
    "File of certificates to trust",
    "Certificates to trust; with it the server's certificate is checked.",
    "Longest wait for a connection (s)",
    "Longest wait for a connection, seconds.",
    "Longest wait for an answer (s)",
    "Longest wait for the server's answer to a query, seconds.",
    "Rows at once",
    "Rows read within one transaction of a snapshot; a chunk is a part of them.",
    "Tables at once",
    "Tables that a snapshot reads at the same time, each over a connection of its own.",
    "Id among the replicas",
    "The id of this reader among replicas; by default a random one each time.",
    "Replication slot",
    "Name of the replication slot; made when it is not there. By default `fustor_` and the source's id.",
    "Publication",
    "A publication to use as it is. By default `fustor` when there is one, else one of the driver's own, which it makes and keeps in line with the wanted tables.",
)


async def driver_titles(page: Page) -> dict[str, dict[str, str]]:
    """
    Return what people call the drivers of sources and of pushers, by section and name, in this person's language.
    """
    found = await page.client.drivers()
    return {
        section: {driver.name: page.t(driver.title) for driver in drivers}
        for section, drivers in (("sources", found.sources), ("pushers", found.pushers))
    }
