//! What a client does, as a far side sees it.
