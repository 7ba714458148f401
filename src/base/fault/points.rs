//! The named crash points, in the order of layers, and what must hold after a crash at each.
//!
//! "Kill" is the end of the daemon, "cut" the end of the machine's power: docs/crash-points.md is made from this table.

/// Declares [`Point`] from rows of variant, name and sentence.
macro_rules! points {
    ($($variant:ident $name:literal $holds:literal)*) => {
        /// A place where the order of durable steps matters.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $(#[doc = $holds] $variant,)*
        }

        impl Point {
            /// Every point, in the order of the table.
            pub const ALL: &'static [Point] = &[$(Point::$variant,)*];

            /// Its name, which stays.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)* }
            }

            /// What must hold after a crash there.
            pub fn holds(self) -> &'static str {
                match self { $(Point::$variant => $holds,)* }
            }
        }
    };
}

points! {
    FileSynced "file.synced" "The new content of a small file is durable under its temporary name; the old content is the one that is found."
    FileRenamed "file.renamed" "The name leads to the old file or to the new one, which is whole either way."

    StoreFolders "store.folders" "A folder without `format` is no store yet: the next open makes it one."
    StoreMade "store.made" "The store is there, empty, with its id."
    BallastReleased "ballast.released" "The reserve for a full disk is missing; nothing else depends on it."
    BallastHeld "ballast.held" "The reserve for a full disk is there again."

    JournalTailCut "journal.tail_cut" "What follows the last valid record is gone for good: it was never acknowledged."
    JournalSpare "journal.spare" "A spare segment under a temporary name holds nothing; the next open deletes it."
    JournalOpened "journal.opened" "The store counts as not closed: the next open recovers."
    JournalAppended "journal.appended" "The record survives a kill; after a cut it is there whole, or it and all later ones are missing."
    JournalSynced "journal.synced" "Every record up to the last one of the sync survives a cut."
    JournalFull "journal.full" "A full segment ends behind its last record; nothing is in the next one."
    JournalPlaced "journal.placed" "The next segment is empty and durable, and all records before it are durable."
    JournalDeleted "journal.deleted" "The segment that went held only what both exports that are kept hold; a gap in what is left is none that matters."

    ExportSynced "export.synced" "The export has its temporary name still: older exports and all segments are there."
    ExportPlaced "export.placed" "The export is durable; the journal that it replaces is there still."
    ExportPruned "export.pruned" "Two exports are left, and all of the journal behind the older one."

    CheckpointBegun "checkpoint.begun" "The catalog is behind the journal: the next open replays the rest."
    CheckpointApplied "checkpoint.applied" "The catalog may have any part of the checkpoint: its position says how far it can be trusted, and after a cut it is rebuilt."
    CheckpointFlushed "checkpoint.flushed" "The catalog holds everything up to its position, and the journal holds it too."
    CheckpointEnded "checkpoint.ended" "Catalog, exports and what is left of the journal make up all names."
    CatalogCarried "catalog.carried" "The catalog holds every name, but the store counts as not closed."
    CatalogClosed "catalog.closed" "The store is closed: the next open recovers nothing and trusts the catalog, after a cut too."

    RebuildSetAside "rebuild.set_aside" "There is no catalog; the next open makes it from export and journal."
    RebuildLoaded "rebuild.loaded" "The new catalog has no position: the next open begins the rebuild again."
    RebuildReplayed "rebuild.replayed" "The catalog agrees with the journal; what was set aside is garbage."
    RebuildEnded "rebuild.ended" "Only the new catalog is left."

    PackSynced "pack.synced" "The pack is whole under its temporary name; nothing names its blobs, and the next open deletes it."
    PackRenamed "pack.renamed" "The pack is there, or it has its temporary name after a cut; nothing names its blobs yet."
    PackPublished "pack.published" "The pack is durable; without a record that names its blobs it is garbage."
    PackIndexed "pack.indexed" "The index in memory knows the pack; an open reads its footer, for no index file covers it."
    IndexSynced "index.synced" "The index file is whole under its temporary name, and the files that it replaces are there."
    IndexPlaced "index.placed" "The index file and those that it replaces are there: they agree."
    IndexReplaced "index.replaced" "An index file that another one replaces is gone; every pack is covered, or its footer is read."
    PackRemoved "pack.removed" "What was in use of the pack is durable in others; after a cut the pack may be back, as garbage."
    PackGone "pack.gone" "The removed packs stay away."

    HotFolders "hot.folders" "The subfolders of hot files are there, empty."
    HotCreated "hot.created" "An empty hot file without a record is deleted by the next open."
    HotSynced "hot.synced" "The bytes of a hot file are durable, its directory entry may not be: nobody was told yet."
    HotEntrySynced "hot.entry_synced" "A hot file is durable with its name; fsync has not returned before the journal is durable too."
    HotHydrated "hot.hydrated" "A hot file was filled from chunks and is durable; the record names the chunks still."
    HotTurned "hot.turned" "The record names the hot file, whose bytes are durable or empty by request."
    HotDeleted "hot.deleted" "No durable record names the hot file that went."

    SyncFlushed "sync.flushed" "The bytes that renames put over others are durable; without a barrier a cut takes the renames back."
    SyncBarrier "sync.barrier" "The barrier is written: after a cut it is there, and the renames hold, or they are taken back."
    SyncEnded "sync.ended" "Everything that was answered before the sync began survives a cut."

    SealPacked "seal.packed" "The chunks of a file are durable; its record names the hot file still."
    SealRecorded "seal.recorded" "The record names chunks and hot file: both hold the same bytes, and after a cut the chunks count."
    SealEvicted "seal.evicted" "The record names the chunks alone; the hot file stays until that record is durable."

    VersionBegun "version.begun" "The moment is on record: the next mount makes its version, with the bytes of the moment after a kill."
    VersionCopied "version.copied" "A copy for the moment is made that no record names: it is deleted, and the original is unchanged."
    VersionProtected "version.protected" "The moment has the copy; the file itself may now change."
    VersionPacked "version.packed" "All blobs of the version are durable; the moment is not ended, so the version is made again, once."
    VersionRecorded "version.recorded" "The version is on record and the moment has ended, together or not at all."
    VersionFreed "version.freed" "What the moment had saved is deleted; nothing needs it."
    VersionDurable "version.durable" "The version survives a cut."

    ReclaimForgotten "reclaim.forgotten" "Records of expired versions are gone; after a cut they may be back, with all their blobs."
    ReclaimMarked "reclaim.marked" "Every record that the mark has seen is durable, so none comes back that names what goes next."
    ReclaimDoomed "reclaim.doomed" "Nothing new relies on a doomed pack; nothing has gone."
    ReclaimCopied "reclaim.copied" "What is in use of a group of packs is durable twice."
    ReencodeSwapped "reencode.swapped" "Chunks are there in their old and their new form; both decode to the same bytes, and the base of the new one is there."

    NamePlaced "name.placed" "A name that a version is brought back to leads to what was there or to the content of the version, whose chunks are durable; a restore that is given again does the rest."

    RecoverMatched "recover.matched" "Hot files and records agree; a second recovery finds nothing more to do about them."
    RecoverTakenBack "recover.taken_back" "Renames without a barrier are taken back; the next open may take them back again, to the same names."
    RecoverReaped "recover.reaped" "Inodes without a name are gone, or are found as orphans again."
    EndDurable "end.durable" "All files and names are durable; the store counts as not closed."
}
