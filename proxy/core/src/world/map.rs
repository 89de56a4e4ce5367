//! Persistent maps, and maps of small groups: what every index of the world is made of.

use std::{
    borrow::Borrow,
    collections::hash_map::DefaultHasher,
    hash::{BuildHasherDefault, Hash},
};

use rpds::HashTrieMapSync;

/// Cheap to clone: clones share everything that has not changed since. Hashing is unkeyed, so that one world and one
/// input always give one answer; keys come from the control plane, not from peers.
pub(super) type Map<K, V> = HashTrieMapSync<K, V, BuildHasherDefault<DefaultHasher>>;

/// Puts `item` into a key's group where `place` says: `Ok` in place of the item there, `Err` before it.
pub(super) fn put<K, T>(
    groups: &mut Map<K, Vec<T>>,
    key: &K,
    item: T,
    place: impl Fn(&[T]) -> Result<usize, usize>,
) where
    K: Eq + Hash + Clone,
    T: Clone,
{
    let Some(group) = groups.get_mut(key) else {
        groups.insert_mut(key.clone(), vec![item]);
        return;
    };
    match place(group) {
        Ok(at) => {
            if let Some(known) = group.get_mut(at) {
                *known = item;
            }
        }
        Err(at) => group.insert(at.min(group.len()), item),
    }
}

/// The place after all others.
pub(super) const fn last<T>(group: &[T]) -> Result<usize, usize> {
    Err(group.len())
}

/// Takes the items that `gone` recognizes out of a key's group, and the group away once it is empty.
pub(super) fn take<K, Q, T>(groups: &mut Map<K, Vec<T>>, key: &Q, gone: impl Fn(&T) -> bool)
where
    K: Eq + Hash + Clone + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
    T: Clone,
{
    let Some(group) = groups.get_mut(key) else { return };
    group.retain(|item| !gone(item));
    if group.is_empty() {
        groups.remove_mut(key);
    }
}

/// Changes one entry of a map of maps, which appears and disappears with its content.
pub(super) fn within<K, I, V>(outer: &mut Map<K, Map<I, V>>, key: &K, change: impl FnOnce(&mut Map<I, V>))
where
    K: Eq + Hash + Clone,
    I: Eq + Hash + Clone,
    V: Clone,
{
    if let Some(inner) = outer.get_mut(key) {
        change(inner);
        if inner.is_empty() {
            outer.remove_mut(key);
        }
    } else {
        let mut inner = Map::default();
        change(&mut inner);
        if !inner.is_empty() {
            outer.insert_mut(key.clone(), inner);
        }
    }
}
