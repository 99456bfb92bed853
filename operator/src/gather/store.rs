//! What a watch has shown, by namespace and name.
//! **Owns:** the map and what changed in it. **Never:** a watch, the meaning of an object.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::names::Key;

/// Objects of one kind. Cloning shares. Several watches may fill it, each of a scope of its own: a namespace, or all (an
/// empty name).
#[derive(Debug)]
pub struct Store<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    objects: HashMap<Key, Arc<T>>,
    /// By scope, while a list is coming in: what it had so far.
    listed: HashMap<String, HashSet<Key>>,
    /// Scopes whose list has been whole.
    synced: HashSet<String>,
    /// Whether the API server has no such kind.
    is_missing: bool,
}

/// What became of one object.
#[derive(Debug, Clone)]
pub struct Change<T> {
    /// Which.
    pub key: Key,
    /// As it was; none, if it is new.
    pub before: Option<Arc<T>>,
    /// As it is; none, if it is gone.
    pub after: Option<Arc<T>>,
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner {
            objects: HashMap::new(),
            listed: HashMap::new(),
            synced: HashSet::new(),
            is_missing: false,
        })))
    }
}

impl<T> Store<T> {
    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing in here panics half-way: what a poisoned lock guards is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list begins: what it doesn't have by its end is gone.
    pub fn begin(&self, scope: &str) {
        self.inner().listed.insert(scope.to_owned(), HashSet::new());
    }

    /// An object as it is now.
    pub fn put(&self, scope: &str, key: Key, object: T) -> Change<T> {
        let after = Arc::new(object);
        let mut inner = self.inner();
        if let Some(listed) = inner.listed.get_mut(scope) {
            listed.insert(key.clone());
        }
        let before = inner.objects.insert(key.clone(), after.clone());
        Change { key, before, after: Some(after) }
    }

    /// An object that is there and can't be read: the last good one stays.
    pub fn keep(&self, scope: &str, key: &Key) {
        if let Some(listed) = self.inner().listed.get_mut(scope) {
            listed.insert(key.clone());
        }
    }

    /// An object that is gone.
    pub fn remove(&self, key: &Key) -> Option<Change<T>> {
        let before = self.inner().objects.remove(key)?;
        Some(Change { key: key.clone(), before: Some(before), after: None })
    }

    /// The list is whole; what it didn't have.
    pub fn end(&self, scope: &str) -> Vec<Change<T>> {
        let mut inner = self.inner();
        inner.is_missing = false;
        inner.synced.insert(scope.to_owned());
        let Some(listed) = inner.listed.remove(scope) else { return Vec::new() };
        let is_in_scope = |key: &Key| scope.is_empty() || key.namespace == scope;
        let gone = inner.objects.keys().filter(|key| is_in_scope(key) && !listed.contains(key));
        let gone: Vec<Key> = gone.cloned().collect();
        let gone = gone.into_iter().filter_map(|key| {
            let before = inner.objects.remove(&key)?;
            Some(Change { key, before: Some(before), after: None })
        });
        gone.collect()
    }

    /// Of how many scopes the list has been whole.
    pub fn synced(&self) -> usize {
        self.inner().synced.len()
    }

    /// The kind isn't there (yet): there is no object, and that is all there is to know.
    pub fn missing(&self, scope: &str) -> Vec<Change<T>> {
        self.begin(scope);
        let gone = self.end(scope);
        self.inner().is_missing = true;
        gone
    }

    /// Whether the kind is there, as far as is known.
    pub fn is_known(&self) -> bool {
        let inner = self.inner();
        !inner.synced.is_empty() && !inner.is_missing
    }

    /// The object of that name.
    pub fn find(&self, key: &Key) -> Option<Arc<T>> {
        self.inner().objects.get(key).cloned()
    }

    /// All objects that `is_meant`, by key.
    pub fn select(&self, is_meant: impl Fn(&Key, &T) -> bool) -> Vec<(Key, Arc<T>)> {
        let inner = self.inner();
        let meant = inner.objects.iter().filter(|(key, object)| is_meant(key, object));
        meant.map(|(key, object)| (key.clone(), object.clone())).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("mail", name)
    }

    #[test]
    fn what_a_new_list_lacks_is_gone() {
        let store: Store<u32> = Store::default();
        store.begin("");
        store.put("", key("a"), 1);
        store.put("", key("b"), 2);
        assert!(store.synced() == 0 && store.end("").is_empty() && store.synced() == 1);
        store.begin("");
        store.put("", key("b"), 3);
        let gone: Vec<Key> = store.end("").into_iter().map(|change| change.key).collect();
        assert_eq!((gone, store.len()), (vec![key("a")], 1));
    }

    #[test]
    fn a_list_of_one_namespace_says_nothing_of_another() {
        let store: Store<u32> = Store::default();
        store.put("mail", key("a"), 1);
        store.begin("other");
        assert!(store.end("other").is_empty());
        store.begin("mail");
        assert_eq!(store.end("mail").len(), 1);
    }

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_last_good_form() {
        let store: Store<u32> = Store::default();
        store.put("", key("a"), 1);
        store.begin("");
        store.keep("", &key("a"));
        assert!(store.end("").is_empty());
        assert_eq!(store.find(&key("a")).as_deref(), Some(&1));
    }
}
