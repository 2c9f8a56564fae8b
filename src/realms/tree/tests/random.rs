//! Any commands in any order: replicas stay alike, and the tree stays a tree.

use super::super::Tree;
use super::super::acl;
use super::super::jute::{Stat, Write};
use super::super::ops::op;
use super::super::store::table;
use super::world::*;
use crate::base::Rng;
use crate::realms::Realm;
use crate::state::Table;
use crate::state::table::Builder;

fn copy(table: &Table) -> Table {
    let mut builder = Builder::new();
    let mut frozen = table.freeze();
    let mut key = Vec::new();
    while let Some((at, value)) = frozen.next() {
        at.copy_to(&mut key);
        builder.push(&key, value).unwrap();
    }
    builder.finish()
}

/// A command drawn from a small world, so that most of them meet something.
fn random_command(world: &mut World, rng: &mut Rng) {
    let names = ["/a", "/b", "/a/x", "/a/y", "/b/x", "/a/x/z", "/c"];
    let path = *rng.pick(&names);
    let lists =
        [acl::OPEN.to_vec(), acl::READ_ONLY.to_vec(), list(31, "digest", "u:h"), list(7, "ip", "127.0.0.1")];
    let acl = rng.pick(&lists).clone();
    let part = |rng: &mut Rng| -> (i32, Vec<u8>) {
        let path = *rng.pick(&names);
        match rng.below(5) {
            0 | 1 => (op::CREATE2, create_record(path, b"12", &acl, rng.below(5) as i32)),
            2 => (op::DELETE, versioned(path, -1)),
            3 => (op::CHECK, versioned(path, rng.below(3) as i32)),
            _ => {
                let mut record = Vec::new();
                record.put_bytes(path.as_bytes());
                record.put_bytes(&vec![7; rng.below(300) as usize]);
                record.put_i32(-1);
                (op::SET_DATA, record)
            }
        }
    };
    match rng.below(12) {
        0 => {
            let opened = world.open();
            world.session = opened;
        }
        1 if rng.chance(0.3) => {
            let old = world.session;
            world.session = world.open();
            world.expire(old);
        }
        2 => {
            let mut record = Vec::new();
            record.put_bytes(path.as_bytes());
            record.extend_from_slice(&acl);
            record.put_i32(-1);
            world.client(op::SET_ACL, &record);
        }
        3..6 => {
            let parts: Vec<_> = (0..rng.between(1, 5)).map(|_| part(rng)).collect();
            world.multi(&parts);
        }
        _ => {
            let (code, record) = part(rng);
            if code != op::CHECK {
                world.client(code, &record);
            }
        }
    }
}

#[test]
fn the_same_commands_give_the_same_state_and_a_load_goes_on_alike() {
    for seed in 0..20 {
        let mut worlds = [World::new(), World::new()];
        let mut rngs = [Rng::new(seed), Rng::new(seed)];
        for _ in 0..200 {
            worlds.iter_mut().zip(&mut rngs).for_each(|(world, rng)| random_command(world, rng));
        }
        let [mut one, mut other] = worlds;
        assert_eq!(digest(&mut one.tree), digest(&mut other.tree), "seed {seed}");
        assert_eq!(one.events, other.events, "seed {seed}");
        let tables: Vec<Table> = other.tree.tables().iter().map(copy).collect();
        other.tree = Tree::new();
        tables.into_iter().zip(other.tree.tables_mut()).for_each(|(new, place)| *place = new);
        assert_eq!(other.tree.rebuild(), Ok(()));
        for _ in 0..200 {
            random_command(&mut one, &mut rngs[0]);
            random_command(&mut other, &mut rngs[1]);
        }
        assert_eq!(digest(&mut one.tree), digest(&mut other.tree), "seed {seed} after a load");
        assert_eq!(one.events, other.events, "seed {seed} after a load");
        check_consistency(&one);
    }
}

/// What must hold in any tree: parents exist and count their children, ephemerals have living owners.
fn check_consistency(world: &World) {
    let mut total = 1;
    let mut todo = vec!["/".to_string()];
    while let Some(path) = todo.pop() {
        let stat = world.stat_of_any(&path);
        let children = world.tree_children(&path);
        assert_eq!(stat.num_children as usize, children.len(), "{path}");
        if stat.ephemeral_owner != 0 {
            assert!(world.tree.sessions.find(stat.ephemeral_owner as u64).is_some(), "{path} has no owner");
        }
        total += children.len() as u64;
        todo.extend(children.iter().map(|name| format!("{}/{name}", path.trim_end_matches('/'))));
    }
    assert_eq!(total, world.tree.store.tables[table::NODES].len());
}

impl World {
    fn stat_of_any(&self, path: &str) -> Stat {
        self.tree.store.node(path.as_bytes()).unwrap().stat()
    }

    fn tree_children(&self, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        self.tree
            .store
            .children(path.as_bytes(), |name| names.push(String::from_utf8_lossy(name).into_owned()));
        names
    }
}
