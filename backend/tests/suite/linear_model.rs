//! A model of the seats of one key, one request after the other: the backend's histories are compared with it.
//!
//! It owns what each request does to a key and what its answer is, as in docs/seats.md; it must share no code with the backend.
//! All happens within the hour of a superseded id, and no machine has as many ids as a seat can have superseded ids.

use std::collections::{BTreeMap, BTreeSet};

use els_protocol::Code;

/// Which registration of a history.
pub(crate) type Id = u32;

/// A request, as far as seats depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    /// PUT of this id by this machine, which may be in a container.
    Put { id: Id, machine: u32, hardware: bool },
    /// GET with the id's own credential.
    Get { id: Id },
    /// DELETE with the id's own credential.
    Delete { id: Id },
    /// DELETE of the seat with the key.
    Release { id: Id },
    /// The list of seats.
    List,
    /// `key update --seats`
    Resize { seats: u64 },
    /// `key suspend`, `key resume`
    Suspend { suspended: bool },
}

/// What a client sees of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A registration with its status and the seats, total and used.
    Registration(u16, Seats),
    /// 204
    NoContent,
    /// `no-free-seat`
    Full(Seats),
    /// Another refusal.
    Refused(Code),
    /// A seat list, or what a command says of a key.
    Key(Seats, BTreeSet<Id>),
}

/// Total and used.
pub(crate) type Seats = (u64, u64);

/// A key and its registrations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    total: u64,
    suspended: bool,
    ids: BTreeMap<Id, Standing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Standing {
    Active {
        machine: u32,
        hardware: bool,
    },
    Superseded {
        machine: u32,
    },
    Released,
    /// Given back before it was ever seen.
    Early,
}

impl Model {
    pub(crate) fn new(seats: u64) -> Self {
        Model { total: seats, suspended: false, ids: BTreeMap::new() }
    }

    /// Carries a request out.
    pub(crate) fn step(&mut self, op: Op) -> Seen {
        match op {
            Op::Put { id, machine, hardware } => self.put(id, machine, hardware),
            Op::Get { id } => match self.ids.get(&id) {
                None => Seen::Refused(Code::UnknownRegistration),
                Some(Standing::Released | Standing::Early) => Seen::Refused(Code::RegistrationReleased),
                Some(_) if self.suspended => Seen::Refused(Code::KeySuspended),
                Some(_) => Seen::Registration(200, self.seats()),
            },
            Op::Delete { id } => {
                let standing = self.ids.entry(id).or_insert(Standing::Early);
                if *standing != Standing::Early {
                    *standing = Standing::Released;
                }
                Seen::NoContent
            }
            Op::Release { id } => match self.ids.get_mut(&id) {
                None | Some(Standing::Early) => Seen::Refused(Code::UnknownRegistration),
                Some(standing) => {
                    *standing = Standing::Released;
                    Seen::NoContent
                }
            },
            Op::List => {
                let superseded =
                    |(id, standing): (&Id, &Standing)| matches!(standing, Standing::Superseded { .. }).then_some(*id);
                let ids = self.active().map(|(id, ..)| id).chain(self.ids.iter().filter_map(superseded));
                Seen::Key(self.seats(), ids.collect())
            }
            Op::Resize { seats } => {
                self.total = seats;
                Seen::Key(self.seats(), BTreeSet::new())
            }
            Op::Suspend { suspended } => {
                self.suspended = suspended;
                Seen::Key(self.seats(), BTreeSet::new())
            }
        }
    }

    fn put(&mut self, id: Id, machine: u32, hardware: bool) -> Seen {
        if self.suspended {
            return Seen::Refused(Code::KeySuspended);
        }
        match self.ids.get(&id) {
            Some(Standing::Active { machine: known, .. }) if *known == machine => {
                self.ids.insert(id, Standing::Active { machine, hardware });
                return Seen::Registration(200, self.seats());
            }
            // Within its hour.
            Some(Standing::Superseded { machine: known }) if *known == machine => {
                return Seen::Registration(200, self.seats());
            }
            Some(Standing::Active { .. } | Standing::Superseded { .. }) => {
                return Seen::Refused(Code::RegistrationConflict);
            }
            Some(_) => return Seen::Refused(Code::RegistrationReleased),
            None => {}
        }
        // A machine has one hardware id here, so that two ids of it are never a clone and at most one is active.
        let same = self.active().find(|(_, of, _)| *of == machine);
        if let Some((old, ..)) = same {
            self.ids.insert(old, Standing::Superseded { machine });
            self.ids.insert(id, Standing::Active { machine, hardware });
            return Seen::Registration(200, self.seats());
        }
        if self.used() >= self.total {
            return Seen::Full(self.seats());
        }
        self.ids.insert(id, Standing::Active { machine, hardware });
        Seen::Registration(201, self.seats())
    }

    fn active(&self) -> impl Iterator<Item = (Id, u32, bool)> {
        self.ids.iter().filter_map(|(id, standing)| match standing {
            Standing::Active { machine, hardware } => Some((*id, *machine, *hardware)),
            _ => None,
        })
    }

    fn used(&self) -> u64 {
        self.active().count() as u64
    }

    fn seats(&self) -> Seats {
        (self.total, self.used())
    }
}
