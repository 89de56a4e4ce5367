//! Why an installation is not done.

use crate::cluster::{self, Conflict};
use crate::desired;
use crate::object::Id;
use crate::plan::Owner;
use crate::render::values::ValuesError;
use crate::{Exit, kind, release, wait};

/// Why an installation is not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster cannot be asked, or refused.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Values cannot be read.
    #[error(transparent)]
    Values(#[from] ValuesError),
    /// There is nothing to install.
    #[error(transparent)]
    Desired(#[from] desired::Error),
    /// What an earlier installation kept cannot be used.
    #[error(transparent)]
    Record(#[from] release::Error),
    /// Rights are missing.
    #[error("rights are missing:{}", lines(.rights))]
    Rights {
        /// Each, as the API server names it.
        rights: Vec<String>,
    },
    /// The API server does not know kinds of objects.
    #[error("the API server does not know these kinds:{}", lines(.kinds))]
    Kinds {
        /// Each, with its group and version.
        kinds: Vec<String>,
    },
    /// The API server refuses an object as it is.
    #[error("the API server refuses {id}: {message}")]
    Invalid {
        /// The object.
        id: Box<Id>,
        /// Why, with the field.
        message: String,
    },
    /// What pods need before they can start is not there.
    #[error("istiod is not there, or not ready:{}", lines(.missing))]
    NoIstiod {
        /// What, and who needs it.
        missing: Vec<String>,
    },
    /// Others own fields.
    #[error("others own fields that would change:{}", fields(.conflicts))]
    Conflicts {
        /// Which, and who.
        conflicts: Vec<(Id, Conflict)>,
    },
    /// Others installed objects.
    #[error("others installed these objects:{}", owned(.objects))]
    Owned {
        /// Which, and who.
        objects: Vec<(Id, Owner)>,
    },
    /// A person said no.
    #[error("nothing was changed: it was not confirmed")]
    NotConfirmed,
    /// There is nobody to ask.
    #[error("nothing was changed: there is no terminal to confirm it on")]
    NobodyToAsk,
    /// The images are not on the nodes.
    #[error("load the images")]
    Kind(#[from] kind::Error),
    /// It is installed, but not ready.
    #[error(transparent)]
    Wait(#[from] wait::Error),
}

impl Error {
    /// How the process ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Cluster(error) | Self::Wait(wait::Error::Cluster(error)) => error.exit(),
            Self::Desired(desired::Error::Render(error)) => error.exit(),
            Self::Values(_) | Self::Invalid { .. } => Exit::Usage,
            Self::Conflicts { .. } | Self::Owned { .. } | Self::NotConfirmed | Self::NobodyToAsk => {
                Exit::Refused
            }
            Self::Wait(wait::Error::TimedOut { .. }) => Exit::TimedOut,
            Self::Desired(_)
            | Self::Record(_)
            | Self::Rights { .. }
            | Self::Kinds { .. }
            | Self::NoIstiod { .. }
            | Self::Kind(_) => Exit::Failed,
        }
    }

    /// What to do about it, where we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Cluster(error)
            | Self::Wait(wait::Error::Cluster(error))
            | Self::Desired(desired::Error::Cluster(error)) => return error.hint(),
            Self::Kind(error) => return error.hint(),
            Self::Record(error) => return error.hint(),
            Self::Rights { .. } => {
                "ask whoever runs the cluster for these rights, or use a context that has them; installing needs those of cluster-admin"
            }
            Self::Kinds { .. } => {
                "install the definitions of these kinds first, or leave away the values that ask for them"
            }
            Self::Invalid { .. } => {
                "change the values that lead to this field: `adit install --dry-run` prints the object"
            }
            Self::NoIstiod { .. } => {
                "install istiod with ambient first, or say --without-istiod: pods then start once it is there"
            }
            Self::Conflicts { .. } => {
                "take these fields with --force-conflicts, or give them up where they are set"
            }
            Self::Owned { .. } => {
                "say --replace to take them over; what they are now is kept, and `adit uninstall --restore` brings it back"
            }
            Self::NobodyToAsk => "say --yes",
            Self::Wait(wait::Error::TimedOut { .. }) => {
                "`adit status` shows how it goes on; once the reason is gone nothing has to be installed again"
            }
            Self::Values(_) | Self::Desired(_) | Self::NotConfirmed => return None,
        };
        Some(hint.to_owned())
    }
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

fn fields(conflicts: &[(Id, Conflict)]) -> String {
    conflicts.iter().map(|(id, it)| format!("\n  {id} {} is owned by {}", it.field, it.owner)).collect()
}

fn owned(objects: &[(Id, Owner)]) -> String {
    objects.iter().map(|(id, owner)| format!("\n  {id} is of {owner}")).collect()
}
