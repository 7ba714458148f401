//! Commands on an open store, as the command line asks them.
