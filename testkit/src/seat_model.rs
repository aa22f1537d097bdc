//! A model of a backend that counts seats: a scripted server for sweeps that need thousands of registrations.
//!
//! It knows only the rules that the agent can see: seats, moved seats and released ids.

use std::sync::{Arc, Mutex};

use crate::scripted::{Answer, Request, Scripted, problem};

/// The seats and the ids of one key. Clones share them.
#[derive(Clone, Default)]
pub struct SeatModel {
    inner: Arc<Mutex<Model>>,
}

#[derive(Default)]
struct Model {
    seats: usize,
    /// All keys are one contract's: the key was rotated.
    rotated: bool,
    /// Id, machine, SHA-256 of the token.
    active: Vec<(String, String, String)>,
    released: Vec<String>,
    tokens: Vec<(String, String)>,
}

impl SeatModel {
    pub fn with_seats(seats: usize) -> SeatModel {
        let model = SeatModel::default();
        model.inner.lock().expect("no request panics").seats = seats;
        model
    }

    /// Every key is accepted for every registration, as after the key was rotated.
    pub fn rotate_keys(&self) {
        self.inner.lock().expect("no request panics").rotated = true;
    }

    /// The ids that hold a seat.
    pub fn active(&self) -> Vec<String> {
        let model = self.inner.lock().expect("no request panics");
        model.active.iter().map(|(id, ..)| id.clone()).collect()
    }

    /// The SHA-256 of the token that an id was registered with.
    pub fn token_sha256(&self, id: &str) -> Option<String> {
        let model = self.inner.lock().expect("no request panics");
        model.tokens.iter().find(|(known, _)| known == id).map(|(_, hash)| hash.clone())
    }

    /// Starts a server that answers by this model.
    pub fn serve(&self) -> Scripted {
        let model = self.clone();
        Scripted::backend(move |request| model.answer(request))
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        if !request.path.starts_with("/v1/registrations/") {
            return None;
        }
        let mut model = self.inner.lock().expect("no request panics");
        let id = request.id().to_owned();
        match request.method.as_str() {
            "PUT" if model.released.contains(&id) => Some(problem(410, "registration-released")),
            "PUT" => {
                let body = request.json();
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                let key = if model.rotated { String::new() } else { text("key") };
                let (machine, token) = (format!("{key} {}", text("machine")), text("token_sha256"));
                if model.active.iter().any(|(known, of, _)| *known == id && *of != machine) {
                    return Some(problem(409, "registration-conflict"));
                }
                model.tokens.push((id.clone(), token.clone()));
                let same = model.active.iter().position(|(_, known, _)| *known == machine);
                match same {
                    Some(at) => {
                        let old = std::mem::replace(&mut model.active[at], (id.clone(), machine, token));
                        if old.0 != id {
                            model.released.push(old.0);
                        }
                    }
                    None if model.active.len() < model.seats => model.active.push((id, machine, token)),
                    None => return Some(problem(409, "no-free-seat")),
                }
                None
            }
            "GET" if model.active.iter().any(|(known, ..)| *known == id) => None,
            "GET" => Some(problem(410, "registration-released")),
            _ => {
                model.active.retain(|(known, ..)| *known != id);
                model.released.push(id);
                None
            }
        }
    }
}
