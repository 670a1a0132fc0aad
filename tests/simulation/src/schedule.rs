//! The scheduler: it holds the futures of all who act, and polls one at a time. There is no runtime beneath.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use futures::future::LocalBoxFuture;

use crate::machine::Life;
use crate::world::{ActorId, Port, World};

/// The most who act at a time: the bits of a number.
const SEATS: usize = 64;

/// Marks a seat as one that can go on.
struct Bell {
    ready: Arc<AtomicU64>,
    bit: u64,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.fetch_or(self.bit, Ordering::Relaxed);
    }
}

struct Seat {
    actor: ActorId,
    future: LocalBoxFuture<'static, ()>,
}

/// The futures of a world.
pub(crate) struct Scheduler {
    world: World,
    ready: Arc<AtomicU64>,
    seats: Vec<Option<Seat>>,
    wakers: Vec<Waker>,
}

impl Scheduler {
    /// Nobody yet.
    pub fn new(world: World) -> Self {
        let ready = world.core().ready.clone();
        let bell = |seat: usize| Waker::from(Arc::new(Bell { ready: ready.clone(), bit: 1 << seat }));
        let wakers = (0..SEATS).map(bell).collect();
        Self { world, ready, seats: (0..SEATS).map(|_| None).collect(), wakers }
    }

    /// Lets the actor of a seat go on to its next step.
    pub fn poll(&mut self, slot: u32) {
        let index = slot as usize;
        self.ready.fetch_and(!(1 << slot), Ordering::Relaxed);
        let Some(seat) = &mut self.seats[index] else { return };
        let mut context = Context::from_waker(&self.wakers[index]);
        if seat.future.as_mut().poll(&mut context).is_ready() {
            let actor = seat.actor;
            self.vacate(actor);
            let mut core = self.world.core();
            if core.actors[actor].live {
                core.leave(actor);
            }
        }
    }

    /// Lets those go who are doomed, and in who is new.
    pub fn settle(&mut self) {
        loop {
            let (doomed, spawned) = {
                let mut core = self.world.core();
                (std::mem::take(&mut core.doomed), std::mem::take(&mut core.spawned))
            };
            if doomed.is_empty() && spawned.is_empty() {
                return;
            }
            for actor in doomed {
                self.vacate(actor);
            }
            for (actor, life) in spawned {
                self.seat(actor, life);
            }
        }
    }

    fn seat(&mut self, actor: ActorId, life: Life) {
        let free = self.seats.iter().position(Option::is_none);
        {
            let mut core = self.world.core();
            if !core.actors[actor].live {
                return;
            }
            let Some(index) = free else {
                core.violate("there_are_seats_for_all", format!("over {SEATS} act at once"));
                return;
            };
            core.actors[actor].slot = Some(index as u32);
            core.seated |= 1 << index;
            core.ready.fetch_or(1 << index, Ordering::Relaxed);
        }
        if let Some(index) = free {
            let future = life.begin(Port { world: self.world.clone(), actor });
            self.seats[index] = Some(Seat { actor, future });
        }
    }

    /// Drops the future of an actor, if there is one: not while the world is held, because futures let go of what they
    /// wait for.
    fn vacate(&mut self, actor: ActorId) {
        let slot = {
            let mut core = self.world.core();
            let slot = core.actors[actor].slot.take();
            if let Some(slot) = slot {
                core.seated &= !(1 << slot);
                core.frozen &= !(1 << slot);
            }
            slot
        };
        if let Some(slot) = slot {
            self.seats[slot as usize] = None;
        }
    }
}
