//! Which stages share a thread, and which core a thread has to itself. Pure: cores in, loops out.

/// A stage's place. `Store` writes through the ring of the loop that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Edge,
    Order,
    Store,
    Peer,
    Apply,
    /// One more `apply`, for plain reads.
    Reader,
}

/// One thread, its stages in the order in which they turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    pub name: String,
    pub places: Vec<Place>,
    /// The core that it is pinned to; `None`: wherever the kernel puts it.
    pub core: Option<usize>,
}

/// Whether loops are pinned to cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Where each loop has a core of its own.
    #[default]
    Auto,
    Yes,
    No,
}

/// The most edges: their number is a byte in every origin, and half of those are for other uses.
pub const EDGES_MAX: usize = 64;

/// From here on `store` and the readers have threads of their own, and the kernel keeps a core.
const LARGE: usize = 16;

/// The loops for `cores`, of a machine that has `online` of them.
///
/// One core, or several nodes on one host: everything in one loop, with no hop between threads. From two on the
/// clients' sockets have loops of their own, which grow with the cores: parsing and system calls are most of the
/// work, and order is one thread's by nature.
pub fn layout(cores: usize, online: usize, pin: Pin) -> Vec<Loop> {
    use Place::*;
    let mut shape: Vec<(String, Vec<Place>)> = Vec::new();
    let edges = match cores {
        0 | 1 => 0,
        2 => 1,
        3..LARGE => cores - 2,
        _ => (cores - 7).min(EDGES_MAX),
    };
    shape.extend((0..edges).map(|n| (format!("edge-{n}"), vec![Edge])));
    match cores {
        0 | 1 => shape.push(("node".into(), vec![Edge, Order, Store, Peer, Apply])),
        2 => shape.push(("core".into(), vec![Order, Store, Peer, Apply])),
        3..LARGE => {
            shape.push(("order".into(), vec![Order, Store, Peer]));
            shape.push(("apply".into(), vec![Apply]));
        }
        _ => {
            shape.push(("order".into(), vec![Order]));
            shape.push(("peer".into(), vec![Peer]));
            shape.push(("store".into(), vec![Store]));
            shape.push(("apply".into(), vec![Apply]));
            shape.extend((0..2).map(|n| (format!("reader-{n}"), vec![Reader])));
        }
    }
    let pinned = match pin {
        Pin::Yes => true,
        Pin::No => false,
        // A loop alone is moved by the kernel to where there is room: better than any place chosen blindly.
        Pin::Auto => shape.len() > 1 && shape.len() <= online,
    };
    let core = |n: usize| pinned.then_some(n % online.max(1));
    (0..).zip(shape).map(|(n, (name, places))| Loop { name, places, core: core(n) }).collect()
}

/// The same with order, store, peer and apply in one loop, as long as `order` sends to them without looking for
/// room: within a loop they drain their lanes every turn, on another thread they might not. Readers, which do not
/// exist yet, are left out.
pub fn gathered(loops: &[Loop]) -> Vec<Loop> {
    let (mut gathered, mut core): (Vec<Loop>, Option<Loop>) = (Vec::new(), None);
    for one in loops.iter().filter(|l| l.places != [Place::Reader]) {
        if one.places.contains(&Place::Edge) {
            gathered.push(one.clone());
        } else if let Some(core) = &mut core {
            core.name = "core".into();
            core.places.extend(&one.places);
        } else {
            core = Some(one.clone());
        }
    }
    gathered.extend(core);
    gathered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(loops: &[Loop]) -> String {
        let one = |l: &Loop| {
            let places: Vec<_> = l.places.iter().map(|p| format!("{p:?}").to_lowercase()).collect();
            places.join(" ") + &l.core.map_or(String::new(), |core| format!("@{core}"))
        };
        loops.iter().map(one).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn the_table() {
        for (cores, online, pin, wanted) in [
            (1, 2, Pin::Auto, "edge order store peer apply"),
            (1, 2, Pin::Yes, "edge order store peer apply@0"),
            (2, 2, Pin::Auto, "edge@0 | order store peer apply@1"),
            (2, 2, Pin::No, "edge | order store peer apply"),
            (2, 1, Pin::Auto, "edge | order store peer apply"),
            (3, 4, Pin::Auto, "edge@0 | order store peer@1 | apply@2"),
            (4, 4, Pin::Auto, "edge@0 | edge@1 | order store peer@2 | apply@3"),
            (4, 2, Pin::Yes, "edge@0 | edge@1 | order store peer@0 | apply@1"),
            (
                16,
                16,
                Pin::Auto,
                "edge@0 | edge@1 | edge@2 | edge@3 | edge@4 | edge@5 | edge@6 | edge@7 | edge@8 | order@9 | \
                 peer@10 | store@11 | apply@12 | reader@13 | reader@14",
            ),
        ] {
            assert_eq!(shown(&layout(cores, online, pin)), wanted, "{cores} of {online}, {pin:?}");
        }
    }

    #[test]
    fn gathered_keeps_only_edges_apart() {
        for (cores, wanted) in [
            (1, "edge order store peer apply"),
            (2, "edge@0 | order store peer apply@1"),
            (4, "edge@0 | edge@1 | order store peer apply@2"),
            (
                16,
                "edge@0 | edge@1 | edge@2 | edge@3 | edge@4 | edge@5 | edge@6 | edge@7 | edge@8 | \
                 order peer store apply@9",
            ),
        ] {
            assert_eq!(shown(&gathered(&layout(cores, cores, Pin::Auto))), wanted);
        }
    }

    #[test]
    fn every_stage_has_a_place_whatever_the_machine() {
        for cores in 0..200 {
            let loops = layout(cores, cores, Pin::Auto);
            assert!(loops.len() <= cores.max(1));
            for place in [Place::Order, Place::Store, Place::Peer, Place::Apply] {
                assert_eq!(loops.iter().flat_map(|l| &l.places).filter(|p| **p == place).count(), 1);
            }
            let edges = loops.iter().flat_map(|l| &l.places).filter(|p| **p == Place::Edge).count();
            assert!((1..=EDGES_MAX).contains(&edges));
        }
    }
}
