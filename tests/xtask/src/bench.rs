//! Postrider beside Postfix, in one run.
//! **Owns:** nothing yet. **Never:** judges.

use anyhow::Result;

pub(crate) fn main(_quick: bool, _here: bool) -> Result<()> {
    anyhow::bail!("not yet")
}
