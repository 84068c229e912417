//! Regular expressions of session filters: both pattern and value are untrusted, so both compiling and matching
//! have a bound.

use std::cell::RefCell;

use regex_automata::hybrid::dfa::{self, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::ast::parse::ParserBuilder;
use regex_syntax::ast::{self, Ast};
use regex_syntax::hir::{Hir, Look};

use super::work::{TooMuchWork, Work};

/// Patterns in one filter.
pub const MAX_PATTERNS: usize = 8;
/// Their characters in all. Character classes of Unicode make a short pattern a costly one: with this limit reading
/// them takes up to a twentieth of a second, during which nobody else is served.
pub const MAX_CHARACTERS: usize = 1000;
/// Most memory that they may take in all when compiled, in bytes. That takes a few milliseconds.
pub const MAX_SIZE: usize = 1 << 20;
/// Memory for what matching finds out about a pattern, in bytes, and how often it may be filled before the slower way
/// is taken. Ordinary patterns fill a small part of it once.
const CACHE_SIZE: usize = 512 << 10;
const MAX_CACHE_CLEARS: usize = 4;
/// Parentheses and repetitions that may be nested in each other.
const MAX_DEPTH: u32 = 50;

/// Bytes of a value that are matched in about the time of a simple comparison, the fast way.
const BYTES_PER_UNIT: usize = 32;
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
        refuse_possessive(pattern)?;
        let syntax = syntax::Config::new().nest_limit(MAX_DEPTH);
        // Not by putting text around the pattern: one such as `a)(b` would then become correct.
        let parsed = syntax::parse_with(pattern, &syntax).map_err(|error| one_line(&error.to_string()))?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), parsed, Hir::look(Look::End)]);
        let size = thompson::Config::new().nfa_size_limit(Some(limits.size)).which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(size).build_from_hir(&whole).map_err(|_| TOO_LARGE)?;
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
    /// [`TooMuchWork`] if it cannot be found out with what is left of `work`.
    pub fn is_match(&self, value: &str, work: &mut Work) -> Result<bool, TooMuchWork> {
        work.spend(value.len() / BYTES_PER_UNIT)?;
        let input = Input::new(value).anchored(Anchored::Yes).earliest(true);
        match self.dfa.try_search_fwd(&mut self.cache.borrow_mut(), &input) {
            Ok(found) => Ok(found.is_some()),
            Err(_) => is_match_slowly(self.dfa.get_nfa(), input, work),
        }
    }
}

/// What Java calls possessive quantifiers, such as `a++`, and its other pairs of quantifiers, would be read as
/// repetitions of repetitions, which match more.
fn refuse_possessive(pattern: &str) -> Result<(), String> {
    struct Pairs;
    impl ast::Visitor for Pairs {
        type Output = ();
        type Err = String;

        fn finish(self) -> Result<(), String> {
            Ok(())
        }

        fn visit_pre(&mut self, part: &Ast) -> Result<(), String> {
            match part {
                Ast::Repetition(outer) if matches!(*outer.ast, Ast::Repetition(_)) => {
                    Err("bad regular expression: two quantifiers in a row".into())
                }
                _ => Ok(()),
            }
        }
    }
    let parsed = ParserBuilder::new().nest_limit(MAX_DEPTH).build().parse(pattern);
    parsed.map_or(Ok(()), |parsed| ast::visit(&parsed, Pairs))
}

const TOO_LARGE: &str = "the regular expressions of this filter take more than a mebibyte";

/// What is left for further patterns of the same filter.
#[derive(Debug)]
pub struct PatternLimits {
    patterns: usize,
    characters: usize,
    size: usize,
}

impl PatternLimits {
    /// What there is for one filter.
    pub fn new() -> Self {
        Self { patterns: MAX_PATTERNS, characters: MAX_CHARACTERS, size: MAX_SIZE }
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

    #[test]
    fn the_limits_hold_for_all_patterns_of_a_filter_together() {
        let fit = |pattern: &str| {
            let mut limits = PatternLimits::new();
            (0..100).take_while(|_| Pattern::new(pattern, &mut limits).is_ok()).count()
        };
        assert_eq!(fit("a"), MAX_PATTERNS);
        assert_eq!(fit(&"a".repeat(300)), 3);
        let large = fit("x{9000}");
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
        assert_eq!(pattern.is_match(&long, &mut Work::new()), Ok(false));
        let mut little = Work::new();
        little.spend(MAX_WORK - 10_000).expect("left");
        assert_eq!(pattern.is_match(&long, &mut little), Err(TooMuchWork));
        assert_eq!(is_match("(a*)*b", &"a".repeat(128 << 10)), Ok(false));
        assert_eq!(is_match("[ab]*", &long), Ok(true));
    }
}
