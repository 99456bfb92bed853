//! Two bars a row, for comparisons.
//! **Owns:** their layout. **Never:** what is compared.

use anyhow::Result;
use plotters::{prelude::*, style::text_anchor::HPos};

use super::{BACKGROUND, FAINT, INK, LINES, format, pixels, text};

/// A row: its name, and the two values as far as there are two.
#[derive(Debug, Clone)]
pub struct Row {
    /// In words.
    pub name: String,
    /// Ours, theirs.
    pub values: [Option<f64>; 2],
}

const WIDTH: u32 = 900;
/// Where bars begin.
const LEFT: i32 = 380;
const ROW: u32 = 40;
const HEAD: u32 = 64;
const WHOSE: [&str; 2] = ["Postrider", "Postfix"];

/// Draws them.
///
/// # Errors
/// None that a string would give.
pub fn pairs(title: &str, unit: &str, rows: &[Row]) -> Result<String> {
    let mut svg = String::new();
    {
        let height = HEAD + ROW * u32::try_from(rows.len())? + 10;
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&BACKGROUND)?;
        text(&area, title, (14, 22), 18.0, INK, HPos::Left)?;
        let colours = [LINES[1], LINES[7]];
        for (number, (whose, colour)) in WHOSE.iter().zip(colours).enumerate() {
            let x = LEFT + 110 * i32::try_from(number)?;
            area.draw(&Rectangle::new([(x, 40), (x + 12, 52)], colour.filled()))?;
            text(&area, whose, (x + 18, 46), 12.0, INK, HPos::Left)?;
        }
        let most = rows.iter().flat_map(|row| row.values).flatten().fold(f64::MIN_POSITIVE, f64::max);
        let room = f64::from(pixels(WIDTH) - LEFT - 90);
        for (number, row) in rows.iter().enumerate() {
            let y = pixels(HEAD + ROW * u32::try_from(number)?);
            text(&area, &row.name, (LEFT - 10, y + 17), 12.0, INK, HPos::Right)?;
            for ((value, colour), top) in row.values.iter().zip(colours).zip([y + 4, y + 18]) {
                let Some(value) = value else { continue };
                let end = LEFT + ((value / most) * room).round().max(1.0) as i32;
                area.draw(&Rectangle::new([(LEFT, top), (end, top + 12)], colour.filled()))?;
                text(&area, &format(*value, unit), (end + 6, top + 6), 11.0, FAINT, HPos::Left)?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}
