use std::io::Cursor;

use super::*;

#[test]
fn a_table_s_columns_are_as_wide_as_what_is_in_them() {
    let table = Table::new(["NAME", "STATE"]).row(["a", "ready"]).row(["a-long-name", ""]);
    assert_eq!(table.render(false), "NAME          STATE\na             ready\na-long-name\n");
}

#[test]
fn colors_do_not_move_columns() {
    let mut table = Table::new(["A", "B"]);
    table.push(vec![(Style::Bad, "x".to_owned()), (Style::Plain, "y".to_owned())]);
    assert_eq!(table.render(true), "A   B\n\u{1b}[31mx\u{1b}[0m   y\n");
}

#[test]
fn colors_are_for_terminals_unless_somebody_says_otherwise() {
    for (color, terminal, no_color, want) in [
        (Color::Auto, true, false, true),
        (Color::Auto, true, true, false),
        (Color::Auto, false, false, false),
        (Color::Always, false, true, true),
        (Color::Never, true, false, false),
    ] {
        assert_eq!(color.on(terminal, no_color), want, "{color:?} {terminal} {no_color}");
    }
}

#[test]
fn only_a_plain_yes_is_a_yes_and_without_a_person_there_is_no_answer() {
    for (typed, want) in [
        (Some("y\n"), Answer::Yes),
        (Some("YES\n"), Answer::Yes),
        (Some("\n"), Answer::No),
        (Some("yep\n"), Answer::No),
        (Some(""), Answer::No),
        (None, Answer::Nobody),
    ] {
        let answers = typed.map(|text| Box::new(Cursor::new(text)) as Box<dyn BufRead + Send>);
        let output = Output::to(Format::Table, Box::new(Vec::new()), Box::new(Vec::new()), answers);
        assert_eq!(output.confirm(format_args!("Go on?")), want, "{typed:?}");
    }
}
