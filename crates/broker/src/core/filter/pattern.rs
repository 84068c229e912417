//! Regular expressions of session filters: both pattern and value are untrusted, so both compiling and matching
//! have a bound.

use std::cell::RefCell;

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::translate::Translator;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::work::{TooMuchWork, Work};

/// Patterns in one filter.
pub const MAX_PATTERNS: usize = 8;
/// Their characters in all.
pub const MAX_CHARACTERS: usize = 1000;
/// Most memory that they may take in all when compiled, in bytes. That takes two milliseconds.
pub const MAX_SIZE: usize = 256 << 10;
/// Characters of which the other cases are looked for, in the classes of patterns that do not heed case. That takes as long.
pub const MAX_FOLDED: usize = 1 << 17;
/// Memory for what matching finds out about a pattern, in bytes, and how often it may be filled before the slower way
/// is taken. Ordinary patterns fill a small part of it once.
const CACHE_SIZE: usize = 256 << 10;
const MAX_CACHE_CLEARS: usize = 2;
/// Most work for one value: about two milliseconds, during which nobody else is served.
pub const MAX_MATCH_WORK: usize = 60_000;
/// Parentheses and repetitions that may be nested in each other.
const MAX_DEPTH: u32 = 50;

/// Bytes of a value that are matched in about the time of a simple comparison, the fast way.
const BYTES_PER_UNIT: usize = 8;
/// Bytes of what is found out about a pattern in that time.
const LEARNED_PER_UNIT: usize = 2;
/// Bytes of a pattern that are compiled in that time.
const COMPILED_PER_UNIT: usize = 4;
/// Characters whose other cases are looked for in that time.
const FOLDED_PER_UNIT: usize = 2;
/// The same the slow way, with a pattern of one state. The time goes up with the number of states.
const STATES_PER_UNIT: usize = 4;

/// A regular expression that matches whole values.
#[derive(Clone, Debug)]
pub struct Pattern {
    dfa: DFA,
    // Matching learns but does not change what matches.
    cache: RefCell<dfa::Cache>,
}

impl Pattern {
    /// Compiles a pattern, for which there must be room within `limits`. Look-around and back-references, which would
    /// take more than linear time, are errors.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in one line.
    pub fn new(pattern: &str, limits: &mut PatternLimits) -> Result<Self, String> {
        limits.take(pattern)?;
        limits.look_at(pattern)?;
        let syntax = syntax::Config::new().nest_limit(MAX_DEPTH);
        // Not by putting text around the pattern: one such as `a)(b` would then become correct.
        let parsed = syntax::parse_with(pattern, &syntax).map_err(|error| one_line(&error.to_string()))?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
        let size = thompson::Config::new().nfa_size_limit(Some(limits.size)).which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(size).build_from_hir(&whole);
        let nfa = nfa.map_err(|_| {
            limits.size = 0;
            TOO_LARGE
        })?;
        limits.size = limits.size.checked_sub(nfa.memory_usage()).ok_or(TOO_LARGE)?;
        let matching = dfa::Config::new()
            // Word boundaries of ASCII the fast way, of other text the slow way.
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_SIZE)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(MAX_CACHE_CLEARS));
        let dfa = DFA::builder()
            .configure(matching)
            .build_from_nfa(nfa)
            .map_err(|error| format!("the regular expression cannot be used: {error}"))?;
        let cache = RefCell::new(dfa.create_cache());
        Ok(Self { dfa, cache })
    }

    /// Whether the whole of `value` matches.
    ///
    /// # Errors
    ///
    /// [`TooMuchWork`] if it cannot be found out with what is left of `work`, or within [`MAX_MATCH_WORK`].
    pub fn is_match(&self, value: &str, work: &mut Work) -> Result<bool, TooMuchWork> {
        let mut most = work.take_up_to(MAX_MATCH_WORK);
        let found = self.is_match_within(value, &mut most);
        work.give_back(most);
        found
    }

    fn is_match_within(&self, value: &str, work: &mut Work) -> Result<bool, TooMuchWork> {
        work.spend(value.len() / BYTES_PER_UNIT)?;
        let input = Input::new(value).anchored(Anchored::Yes).earliest(true);
        match self.run(&input, work)? {
            Some(found) => Ok(found),
            None => is_match_slowly(self.dfa.get_nfa(), input, work),
        }
    }

    /// The fast way, byte by byte, since what is found out about the pattern on the way may take much longer than that.
    /// Nothing if it cannot be found out in this way.
    fn run(&self, input: &Input<'_>, work: &mut Work) -> Result<Option<bool>, TooMuchWork> {
        let cache = &mut *self.cache.borrow_mut();
        let Ok(mut state) = self.dfa.start_state_forward(cache, input) else { return Ok(None) };
        let mut known = learned(cache);
        for (at, byte) in input.haystack().iter().enumerate() {
            let Ok(next) = self.dfa.next_state(cache, state, *byte) else { return Ok(None) };
            state = next;
            if state.is_tagged() {
                if state.is_dead() {
                    return Ok(Some(false));
                }
                if state.is_quit() {
                    return Ok(None);
                }
            }
            if at % 8 == 0 {
                let now = learned(cache);
                work.spend(now.saturating_sub(known) / LEARNED_PER_UNIT)?;
                known = now;
            }
        }
        // Nothing matches before the end, since a whole value has to.
        let Ok(end) = self.dfa.next_eoi_state(cache, state) else { return Ok(None) };
        Ok(Some(end.is_match()))
    }
}

/// Bytes of what was found out about a pattern so far.
fn learned(cache: &dfa::Cache) -> usize {
    cache.clear_count() * CACHE_SIZE + cache.memory_usage()
}

/// Looks at a pattern before it is compiled. What Java calls possessive quantifiers, such as `a++`, and its other pairs of
/// quantifiers, would be read as repetitions of repetitions, which match more. And a class of very many characters is
/// costly where case does not matter: each of them is looked at for its other cases.
#[derive(Debug, Default)]
struct Inspection {
    heeds_no_case: bool,
    folded: usize,
}

impl ast::Visitor for &mut Inspection {
    type Output = ();
    type Err = &'static str;

    fn finish(self) -> Result<(), Self::Err> {
        if self.heeds_no_case && self.folded > MAX_FOLDED { Err(TOO_MANY_FOLDED) } else { Ok(()) }
    }

    fn visit_pre(&mut self, part: &Ast) -> Result<(), Self::Err> {
        match part {
            Ast::Repetition(outer) if matches!(*outer.ast, Ast::Repetition(_)) => {
                return Err("bad regular expression: two quantifiers in a row");
            }
            Ast::Flags(flags) => self.look_at_flags(&flags.flags),
            Ast::Group(group) => {
                if let Some(flags) = group.flags() {
                    self.look_at_flags(flags);
                }
            }
            Ast::ClassUnicode(class) => self.look_at_class(class),
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), Self::Err> {
        match item {
            ast::ClassSetItem::Range(range) => self.folded += folded(range.start.c.into(), range.end.c.into()),
            ast::ClassSetItem::Unicode(class) => self.look_at_class(class),
            ast::ClassSetItem::Perl(class) if class.kind == ast::ClassPerlKind::Word => self.folded += WORD_CHARACTERS,
            _ => {}
        }
        Ok(())
    }
}

impl Inspection {
    fn look_at_flags(&mut self, flags: &ast::Flags) {
        self.heeds_no_case |= flags.flag_state(ast::Flag::CaseInsensitive) == Some(true);
    }

    /// A class that has a name.
    fn look_at_class(&mut self, class: &ast::ClassUnicode) {
        let whole = ast::ClassUnicode { negated: false, ..class.clone() };
        let translated = Translator::new().translate("", &Ast::class_unicode(whole));
        if let Ok(hir) = translated
            && let HirKind::Class(Class::Unicode(class)) = hir.kind()
        {
            self.folded += class.iter().map(|range| folded(range.start().into(), range.end().into())).sum::<usize>();
        }
    }
}

/// Characters of a range that are looked at for their other cases: none if it is well away from all that have any.
fn folded(start: u32, end: u32) -> usize {
    const CASELESS: [(u32, u32); 3] = [(0x2e80, 0xa63f), (0xabc0, 0xfaff), (0x1ea00, 0x10ffff)];
    if CASELESS.iter().any(|(first, last)| start >= *first && end <= *last) {
        return 1;
    }
    (end.saturating_sub(start) + 1) as usize
}

/// Characters of words, without those that are well away from all with other cases.
const WORD_CHARACTERS: usize = 1 << 14;

const TOO_MANY_FOLDED: &str = "the character classes of this filter have too many characters for ignoring case";
const TOO_LARGE: &str = "the regular expressions of this filter take more than 256 KiB";

/// What is left for further patterns of the same filter.
#[derive(Debug)]
pub struct PatternLimits {
    patterns: usize,
    characters: usize,
    size: usize,
    inspection: Inspection,
}

impl PatternLimits {
    /// What there is for one filter.
    pub fn new() -> Self {
        let inspection = Inspection::default();
        Self { patterns: MAX_PATTERNS, characters: MAX_CHARACTERS, size: MAX_SIZE, inspection }
    }

    /// What was done so far, in units of work.
    pub fn work(&self) -> usize {
        let folded = if self.inspection.heeds_no_case { self.inspection.folded / FOLDED_PER_UNIT } else { 0 };
        (MAX_SIZE - self.size) / COMPILED_PER_UNIT + folded.min(MAX_FOLDED)
    }

    fn look_at(&mut self, pattern: &str) -> Result<(), &'static str> {
        // What does not parse is found out when it is compiled.
        let parsed = ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(pattern);
        parsed.map_or(Ok(()), |parsed| ast::visit(&parsed, &mut self.inspection))
    }

    fn take(&mut self, pattern: &str) -> Result<(), String> {
        let patterns = self.patterns.checked_sub(1);
        self.patterns = patterns.ok_or_else(|| format!("more than {MAX_PATTERNS} regular expressions"))?;
        let characters = self.characters.checked_sub(pattern.chars().count());
        let too_long = || format!("the regular expressions of this filter have more than {MAX_CHARACTERS} characters");
        self.characters = characters.ok_or_else(too_long)?;
        Ok(())
    }
}

/// Takes time in proportion to the value times the pattern, whatever they are.
fn is_match_slowly(nfa: &NFA, input: Input<'_>, work: &mut Work) -> Result<bool, TooMuchWork> {
    work.spend(input.haystack().len().saturating_mul(nfa.states().len()) / STATES_PER_UNIT)?;
    // Building it copies nothing; it fails only for patterns that are not valid, and this one was built before.
    let Ok(simulation) = PikeVM::new_from_nfa(nfa.clone()) else { return Err(TooMuchWork) };
    Ok(simulation.is_match(&mut simulation.create_cache(), input))
}

/// The sentence of an error that comes with a drawing of the pattern.
fn one_line(error: &str) -> String {
    let sentence = error.lines().rev().find_map(|line| line.strip_prefix("error: "));
    format!("bad regular expression: {}", sentence.unwrap_or("it does not parse"))
}

#[cfg(test)]
mod tests {
    use super::super::work::MAX_WORK;
    use super::*;

    fn is_match(pattern: &str, value: &str) -> Result<bool, TooMuchWork> {
        Pattern::new(pattern, &mut PatternLimits::new()).expect("a pattern").is_match(value, &mut Work::new())
    }

    #[test]
    fn whole_values_match_and_nothing_can_break_out_of_that() {
        assert_eq!(is_match("a|ab", "ab"), Ok(true));
        assert_eq!(is_match("a|ab", "abc"), Ok(false));
        assert_eq!(is_match("(?m)^a$", "a\nb"), Ok(false));
        assert_eq!(is_match("", ""), Ok(true));
        assert_eq!(is_match(".*", "äöü"), Ok(true));
        for pattern in ["a)(b", "a)|(b"] {
            assert!(Pattern::new(pattern, &mut PatternLimits::new()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn word_boundaries_are_those_of_the_language_of_the_value() {
        assert_eq!(is_match(r".*\bops\b.*", "the ops team"), Ok(true));
        assert_eq!(is_match(r".*\bops\b.*", "les ops à côté"), Ok(true));
        assert_eq!(is_match(r".*\bops\b.*", "les opsé"), Ok(false));
    }

    #[test]
    fn patterns_that_are_costly_to_compile_are_refused() {
        let (deep, long) = (["("; 51].concat() + &")".repeat(51), "x".repeat(1001));
        for pattern in ["(?=x)", r"(x)\1", "a++", "a*+b", "a{2}+", "(((x{900}){900}){900})", r"\w{1000}", &deep, &long]
        {
            assert!(Pattern::new(pattern, &mut PatternLimits::new()).is_err(), "{pattern}");
        }
    }

    /// V23.
    #[test]
    fn classes_whose_other_cases_would_take_long_to_find_are_refused_and_ordinary_ones_are_not() {
        let new = |pattern: &str| Pattern::new(pattern, &mut PatternLimits::new());
        for pattern in [
            r"(?i)[\x{0}-\x{10ffff}]".to_owned(),
            r"[\x{0}-\x{10ffff}](?i:a)".to_owned(),
            r"(?i)\p{Any}".to_owned(),
            r"(?i)\P{Any}".to_owned(),
            r"(?i)\pL".repeat(100),
            r"(?i)[\w--\d]{0}".repeat(50),
        ] {
            assert_eq!(new(&pattern).map(drop), Err(TOO_MANY_FOLDED.to_owned()), "{pattern}");
        }
        for pattern in [
            r"[\x{0}-\x{10ffff}]",
            r"\p{Any}*",
            r"(?i)[\w.-]+@[\w.-]+\.[a-z]+",
            r"(?i)\pL+ \pL+",
            r"(?i)\p{Unassigned}",
            r"(?i)[\x{4e00}-\x{9fff}a-z]+",
            r"(?i)\w+ \d+ \s",
        ] {
            assert!(new(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn the_limits_hold_for_all_patterns_of_a_filter_together() {
        let fit = |pattern: &str| {
            let mut limits = PatternLimits::new();
            (0..100).take_while(|_| Pattern::new(pattern, &mut limits).is_ok()).count()
        };
        assert_eq!(fit("a"), MAX_PATTERNS);
        assert_eq!(fit(&"a".repeat(300)), 3);
        let large = fit("x{5000}");
        assert!((1..MAX_PATTERNS).contains(&large), "{large}");
    }

    #[test]
    fn matching_that_would_take_long_is_given_up() {
        // So disorderly that nearly every character leads to what was not seen before.
        let mut random = 1_u32;
        let mut letter = || {
            random = random.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            if random >> 31 == 0 { 'a' } else { 'b' }
        };
        let long: String = (0..32 << 10).map(|_| letter()).collect();
        let pattern = Pattern::new("([ab]*a[ab]{100})*c", &mut PatternLimits::new()).expect("a pattern");
        let mut work = Work::new();
        assert_eq!(pattern.is_match(&long, &mut work), Err(TooMuchWork));
        assert!(MAX_WORK - work.left() <= MAX_MATCH_WORK, "others wait for one match: {work:?}");
        assert_eq!(pattern.is_match(&long[..1000], &mut Work::new()), Ok(false));
        let mut little = Work::new();
        little.spend(MAX_WORK - 1000).expect("left");
        let again = Pattern::new("([ab]*a[ab]{100})*c", &mut PatternLimits::new()).expect("a pattern");
        assert_eq!(again.is_match(&long[..1000], &mut little), Err(TooMuchWork));
        assert_eq!(is_match("(a*)*b", &"a".repeat(128 << 10)), Ok(false));
        assert_eq!(is_match("[ab]*", &long), Ok(true));
    }
}
