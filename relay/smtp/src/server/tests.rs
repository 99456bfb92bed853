//! What sessions do, as a client sees it.
