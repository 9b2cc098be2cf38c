//! The page of a study: learning curves, tables, pictures, each with the command that makes it again.

use std::path::Path;

use super::compare::{Finished, Measure, Summary, curve, summary};
use super::plan::{Bar, Block, Cell, Plan, variant};
use super::record::{Folder, Point, Record};
use crate::base::{Result, files};
use crate::report::interval::{Interval, iqm, stratified};
use crate::report::page::{Field, Page};
use crate::report::progress::grouped;
use crate::report::svg::Plot;

/// Variants that one plot can hold; more are drawn each beside the first.
const TOGETHER: usize = 4;
/// No picture is longer, in bytes.
const MAX_BYTES: u64 = 1 << 26;

/// What the page is made of.
struct Study<'a> {
    plan: &'a Plan,
    cells: &'a [Cell],
    finished: Vec<Finished<'a>>,
    folder: &'a Folder,
    /// `study` with plan and folder, for people.
    command: String,
}

/// Writes `report.html` from the records that are there.
///
/// # Errors
/// A record is damaged, or the page cannot be written.
pub fn write(plan: &Plan, cells: &[Cell], folder: &Folder, path: &Path) -> Result<()> {
    let mut finished = Vec::new();
    for cell in cells {
        finished.extend(Record::load(folder, cell, plan.episodes)?.map(|record| Finished { cell, record }));
    }
    let command = format!("dreamer-fast study --plan {} --out {}", path.display(), folder.0.display());
    let study = Study { plan, cells, finished, folder, command };
    files::create_directory(&folder.0)?;
    files::write_atomic(&folder.report(), study.page()?.to_html().as_bytes())
}

impl Study<'_> {
    fn page(&self) -> Result<Page> {
        let title = self.plan.about.split(['.', ':']).next().unwrap_or("Study").trim();
        let mut page = Page::new(title);
        page.paragraph(&self.plan.about);
        let (done, all) = (self.finished.len(), self.cells.len());
        page.paragraph(&format!(
            "{done} of {all} cells are finished. Scores are means over {} fresh episodes of the greedy policy; IQM is the interquartile mean \
             over seeds, with its 95 % stratified bootstrap interval over seeds. With three seeds an interval spans little more than their range.",
            self.plan.episodes
        ));
        for (number, block) in self.plan.blocks.iter().enumerate() {
            let title = block.title.clone().unwrap_or_else(|| format!("Cells {}", number + 1));
            page.heading(&title);
            if block.tasks.len() > 1 {
                self.overview(&mut page, block);
            }
            for task in &block.tasks {
                let about = &self.plan.tasks[task];
                page.subheading(&format!("{task}: {}, {} environment steps", about.id, grouped(about.steps)));
                self.table(&mut page, block, task);
                page.commands("The command that makes the tables again", &[format!("{} --report-only", self.command)]);
                self.curves(&mut page, block, task);
            }
            self.diagnoses(&mut page, block)?;
            self.pictures(&mut page, block)?;
            let commands: Vec<String> =
                self.plan.cells_of(block)?.iter().map(|cell| cell.command(&self.folder.run(&cell.name))).collect();
            page.commands("Every cell by itself: the command that trains it", &commands);
        }
        Ok(page)
    }

    /// The finished cells of one variant on one task, over the seeds of a block.
    fn seeds<'a>(&'a self, block: &'a Block, task: &'a str, preset: &'a str, switch: &'a str) -> Vec<&'a Finished<'a>> {
        let fits =
            |c: &Cell| c.task == task && c.preset == preset && c.switch == switch && block.seeds.contains(&c.seed);
        self.finished.iter().filter(|f| fits(f.cell)).collect()
    }

    /// Rows: variants. Columns: tasks, each with its interquartile mean, and all tasks together.
    fn overview(&self, page: &mut Page, block: &Block) {
        let mut headers = vec!["agent".to_string()];
        headers.extend(block.tasks.iter().map(|task| format!("{task} ({}, IQM)", self.measure(block, task).name())));
        headers.push("all tasks".into());
        let mut rows = Vec::new();
        for (preset, switch) in variants(block) {
            let mut row = vec![Field::text(variant(preset, switch))];
            let mut strata: Vec<Vec<f64>> = Vec::new();
            for task in &block.tasks {
                let measure = self.measure(block, task);
                let seeds = self.seeds(block, task, preset, switch);
                let values: Vec<f64> = seeds.iter().map(|f| measure.in_score(&f.record.greedy)).collect();
                let field = summary(&values).map(|all| with_bar(in_brackets(&all.iqm), all.iqm.estimate, measure));
                row.push(field.unwrap_or(Field::number("missing")));
                strata.push(values);
            }
            let strata: Vec<&[f64]> = strata.iter().map(Vec::as_slice).collect();
            let whole = strata.iter().all(|s| !s.is_empty());
            row.push(Field::number(if whole { in_brackets(&stratified(&strata, 0, iqm)) } else { "-".into() }));
            rows.push(row);
        }
        page.table(&headers, &rows);
    }

    /// Rows: variants. Columns: what one task's records say, the random policy on the same episodes beside the agent.
    fn table(&self, page: &mut Page, block: &Block, task: &str) {
        let measure = self.measure(block, task);
        let headers = [
            "agent".to_string(),
            format!("mean {}", measure.name()),
            "worst seed".into(),
            "IQM [95 %]".into(),
            "random policy".into(),
            "return".into(),
            "its random policy".into(),
            "steps beyond the shortest path".into(),
            "shortest path".into(),
            "seeds".into(),
        ];
        let bar = &self.plan.tasks[task].bar;
        let mut rows = Vec::new();
        for (preset, switch) in variants(block) {
            let seeds = self.seeds(block, task, preset, switch);
            let mut row = vec![Field::text(variant(preset, switch))];
            let values: Vec<f64> = seeds.iter().map(|f| measure.in_score(&f.record.greedy)).collect();
            match summary(&values) {
                None => {
                    row.push(Field::number("missing"));
                    row.resize(headers.len(), Field::number(""));
                }
                Some(all) => row.extend(columns(&seeds, &all, measure, block.seeds.len(), bar)),
            }
            rows.push(row);
        }
        page.table(&headers, &rows);
    }

    /// What a block's cells of one task are compared by.
    fn measure(&self, block: &Block, task: &str) -> Measure {
        let here = |c: &Cell| c.task == task && block.presets.contains(&c.preset);
        let records: Vec<&Record> = self.finished.iter().filter(|f| here(f.cell)).map(|f| &f.record).collect();
        Measure::of(&records)
    }

    /// Learning curves: all variants in one plot where they are few, otherwise each beside the first.
    fn curves(&self, page: &mut Page, block: &Block, task: &str) {
        let variants: Vec<(String, Vec<&Finished>)> = variants(block)
            .map(|(preset, switch)| (variant(preset, switch), self.seeds(block, task, preset, switch)))
            .filter(|(_, seeds)| !seeds.is_empty())
            .collect();
        if variants.is_empty() {
            return;
        }
        let measure = self.measure(block, task);
        let records: Vec<&Record> = variants.iter().flat_map(|(_, seeds)| seeds.iter().map(|f| &f.record)).collect();
        let random = records.iter().map(|r| measure.in_score(&r.random)).sum::<f64>() / records.len() as f64;
        let plots: Vec<String> = if variants.len() <= TOGETHER {
            vec![drawn(task, measure, random, &variants)]
        } else {
            let pair = |i: usize| drawn(task, measure, random, &[variants[0].clone(), variants[i].clone()]);
            (1..variants.len()).map(pair).collect()
        };
        let caption = format!(
            "{task}: {} of the greedy policy during training, IQM over seeds with its 95 % interval. Each point plays few episodes (eval_episodes).",
            measure.name()
        );
        page.plots(&plots, &caption, &format!("{} --report-only", self.command));
    }

    /// Plots that `dreamer-fast diagnose` left in the run of each variant's first seed.
    fn diagnoses(&self, page: &mut Page, block: &Block) -> Result<()> {
        for one in self.first_seeds(block) {
            let run = self.folder.run(&one.cell.name);
            let folder = run.join("diagnose");
            let mut plots = Vec::new();
            for name in files::list(&folder)?.iter().filter(|name| name.ends_with(".svg")) {
                plots.push(String::from_utf8_lossy(&files::read(&folder.join(name), MAX_BYTES)?).into_owned());
            }
            if !plots.is_empty() {
                let caption =
                    format!("{} on {}, seed {}: diagnosis.", one.cell.variant(), one.cell.task, one.cell.seed);
                page.plots(&plots, &caption, &format!("dreamer-fast diagnose --logdir {}", run.display()));
            }
        }
        Ok(())
    }

    /// What the first seed of each variant imagines.
    fn pictures(&self, page: &mut Page, block: &Block) -> Result<()> {
        for one in self.first_seeds(block) {
            let path = self.folder.picture(&one.cell.name);
            if !files::exists(&path) {
                continue;
            }
            let caption = format!(
                "{} on {}, seed {}: six episodes, truth above, model below, then their difference. Left: the last step that the model sees. \
                 Middle and right: 3 and 10 steps into a dream (an episode that is over stands still).",
                one.cell.variant(),
                one.cell.task,
                one.cell.seed
            );
            let run = self.folder.run(&one.cell.name);
            page.picture(
                &files::read(&path, MAX_BYTES)?,
                &caption,
                &format!("dreamer-fast dream --logdir {} --out dream.gif", run.display()),
            );
        }
        Ok(())
    }

    /// The finished cell of the lowest seed of each variant and task of a block.
    fn first_seeds<'a>(&'a self, block: &'a Block) -> Vec<&'a Finished<'a>> {
        let mut first = Vec::new();
        for task in &block.tasks {
            for (preset, switch) in variants(block) {
                first.extend(self.seeds(block, task, preset, switch).into_iter().min_by_key(|f| f.cell.seed));
            }
        }
        first
    }
}

/// Every pair of preset and switch.
fn variants(block: &Block) -> impl Iterator<Item = (&str, &str)> {
    block.presets.iter().flat_map(|preset| block.switches.iter().map(|switch| (preset.as_str(), switch.as_str())))
}

/// What the records of one variant's seeds say.
fn columns(seeds: &[&Finished], all: &Summary, measure: Measure, wanted: usize, bar: &Bar) -> [Field; 9] {
    let mean = |f: &dyn Fn(&Record) -> Option<f64>| {
        let values: Vec<f64> = seeds.iter().filter_map(|s| f(&s.record)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let text = |x: Option<f64>, digits: usize| Field::number(x.map_or("-".into(), |x| format!("{x:.digits$}")));
    let marked = |field: Field, reached: Option<bool>| match reached {
        Some(reached) => field.marked(reached),
        None => field,
    };
    let (total, beyond) = (mean(&|r| Some(r.greedy.total)), mean(&|r| r.excess_path));
    let first = with_bar(format!("{:.3}", all.mean), all.mean, measure);
    [
        marked(first, bar.success.filter(|_| measure == Measure::Success).map(|least| all.mean >= least)),
        Field::number(format!("{:.3}", all.worst)),
        Field::number(in_brackets(&all.iqm)),
        text(mean(&|r| Some(measure.in_score(&r.random))), 3),
        marked(text(total, 3), bar.total.map(|least| total.is_some_and(|t| t >= least))),
        text(mean(&|r| Some(r.random.total)), 3),
        marked(text(beyond, 2), bar.excess_path.map(|most| beyond.is_some_and(|x| x <= most))),
        text(mean(&|r| r.shortest_path), 2),
        Field::number(format!("{} of {wanted}", all.seeds)),
    ]
}

/// A share is drawn as a bar, too.
fn with_bar(text: String, value: f64, measure: Measure) -> Field {
    let field = Field::number(text);
    if measure == Measure::Success { field.bar(value) } else { field }
}

fn drawn(task: &str, measure: Measure, random: f64, variants: &[(String, Vec<&Finished>)]) -> String {
    let mut plot = Plot::new(task, "environment steps", measure.name());
    for (name, seeds) in variants {
        let curves: Vec<&[Point]> = seeds.iter().map(|f| f.record.curve.as_slice()).collect();
        let points = curve(&curves, measure);
        let line: Vec<(f64, f64)> = points.iter().map(|(x, i)| (*x, i.estimate)).collect();
        let band: Vec<(f64, f64, f64)> = points.iter().map(|(x, i)| (*x, i.low, i.high)).collect();
        plot = plot.band(name, &band).line(name, &line);
    }
    if measure == Measure::Success {
        plot = plot.y_range(0.0, 1.0);
    }
    plot.level("random policy", random).to_svg()
}

fn in_brackets(interval: &Interval) -> String {
    format!("{interval:.3}")
}
