//! What costs as something grows, drawn: one SVG for each row, both axes logarithmic.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use crate::report::{Growth, Series};
use crate::show::Show;

const SIZE: (u32, u32) = (640, 400);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Told apart also by those who do not see all colours (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// Writes `FOLDER/ROW.svg`.
pub(crate) fn draw(growth: &Growth, folder: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let file = folder.join(format!("{}.svg", growth.row));
    // Its errors borrow from the picture.
    drawn(growth, &file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn drawn(growth: &Growth, file: &Path) -> Result<(), Box<dyn Error>> {
    let points = || growth.series.iter().flat_map(|it| &it.points);
    let (left, right) = decades(points().map(|it| it.0));
    let (bottom, greatest) = decades(points().map(|it| it.1));
    // With room for the legend.
    let top = greatest * (greatest / bottom).powf(0.6);
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{}: cost of one (ns, µs, ms), by {}", growth.row, growth.along);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, (FONT, 17).into_font().color(&INK))
        .margin(10)
        .margin_right(25)
        .x_label_area_size(40)
        .y_label_area_size(75)
        .build_cartesian_2d((left..right).log_scale(), (bottom..top).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_desc(growth.along)
        .y_desc("CPU or time, logarithmic")
        .x_label_formatter(&|x| match growth.show {
            Show::Bytes => power(*x, &["B", "kB", "MB", "GB"]),
            _ => format!("{x:.0}"),
        })
        .y_label_formatter(&|y| power(*y, &["ns", "µs", "ms", "s"]))
        .draw()?;
    for (Series { what, points, .. }, colour) in growth.series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)?
            .label(*what)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(GRID)
        .label_font((FONT, 13).into_font().color(&INK))
        .draw()?;
    area.present()?;
    Ok(())
}

/// From the power of ten below the least to the one above the greatest.
fn decades(figures: impl Iterator<Item = f64>) -> (f64, f64) {
    let (least, greatest) =
        figures.fold((f64::MAX, f64::MIN_POSITIVE), |(a, b), it| (a.min(it), b.max(it)));
    (10_f64.powf(least.log10().floor()), 10_f64.powf(greatest.log10().ceil()))
}

/// A power of ten, in units that are a thousand times one another.
fn power(figure: f64, units: &[&str]) -> String {
    let thousands = (figure.log10() / 3.0 + 1e-9).floor().max(0.0) as usize;
    let thousands = thousands.min(units.len() - 1);
    format!("{:.0} {}", figure / 1000_f64.powi(thousands as i32), units[thousands])
}
