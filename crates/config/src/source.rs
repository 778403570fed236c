//! Where the parts of a configuration stand in the file they were read from.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, List, Location, Place};
use crate::node::Span;

/// A file that was read, to give the places of its configuration line and column.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) places: Places,
}

/// Parallel to the lists of a [`crate::Config`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) device: HashMap<&'static str, Span>,
    pub(crate) fast_path: HashMap<&'static str, Span>,
    pub(crate) instances: Vec<InstancePlaces>,
}

/// Parallel to an [`crate::model::Instance`].
#[derive(Clone, Debug)]
pub(crate) struct InstancePlaces {
    pub(crate) head: Span,
    pub(crate) options: HashMap<&'static str, Span>,
    pub(crate) lists: ListPlaces,
}

/// Parallel to the lists of an instance.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListPlaces {
    pub(crate) eamt: Vec<Span>,
    pub(crate) denylist4: Vec<Span>,
    pub(crate) pool4: Vec<Span>,
    pub(crate) bib: Vec<Span>,
}

impl Source {
    /// Gives a diagnostic about the configuration its line and column.
    #[must_use]
    pub fn locate(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        let span = self.places.span(diagnostic.place).unwrap_or_default();
        diagnostic.location = Some(Location::new(&self.file, &self.text, span.bytes()));
        diagnostic
    }
}

impl Places {
    fn span(&self, place: Place) -> Option<Span> {
        match place {
            Place::File => None,
            Place::Device(key) => self.device.get(key).copied(),
            Place::FastPath(key) => self.fast_path.get(key).copied(),
            Place::Instance(instance) => Some(self.instances.get(instance)?.head),
            Place::Option(instance, key) => {
                let places = self.instances.get(instance)?;
                Some(places.options.get(key).copied().unwrap_or(places.head))
            }
            Place::Element(instance, list, index) => {
                let lists = &self.instances.get(instance)?.lists;
                let list = match list {
                    List::Eamt => &lists.eamt,
                    List::Denylist4 => &lists.denylist4,
                    List::Pool4 => &lists.pool4,
                    List::Bib => &lists.bib,
                };
                list.get(index).copied()
            }
        }
    }
}
