//! The report for people's browsers: one self-contained file.

use super::Report;

/// The whole document.
pub fn document(report: &Report) -> String {
    let text = super::text::render(report, false);
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>ecs-rebalancer: {}</title>\n<style>:root{{color-scheme:light dark}}body{{margin:2rem}}pre{{font:1rem/1.4 monospace;overflow:auto}}</style>\n\
         <main><h1>ecs-rebalancer: {}</h1><pre tabindex=\"0\">{escaped}</pre></main>\n</html>\n",
        report.cluster, report.cluster
    )
}
