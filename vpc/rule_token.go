package vpc

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// RuleError says what is wrong with a rule's text and what would be right.
type RuleError struct {
	Text    string // the whole rule
	Column  int    // where in Text, in characters, from 1
	Problem string // `port 70000 is out of range`
	Want    string // `ports are 0 to 65535`
}

// Error gives `column 5: port 70000 is out of range; ports are 0 to 65535`.
func (e *RuleError) Error() string {
	return fmt.Sprintf("column %d: %s; %s", e.Column, e.Problem, e.Want)
}

// ruleToken is a word of a rule's text, a quoted name or a comma.
type ruleToken struct {
	text   string // without the quotes
	at     int    // byte offset in the rule
	quoted bool
}

func (t ruleToken) isComma() bool { return t.text == "," && !t.quoted }

// is compares an unquoted word, ignoring case.
func (t ruleToken) is(word string) bool { return !t.quoted && strings.EqualFold(t.text, word) }

const ruleSpace = " \t\r\n"

// tokenizeRule splits a rule into words. Quotes, single or double, hold a name together.
func tokenizeRule(text string) ([]ruleToken, error) {
	var tokens []ruleToken
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case strings.IndexByte(ruleSpace, c) >= 0:
			i++
		case c == ',':
			tokens = append(tokens, ruleToken{text: ",", at: i})
			i++
		case c == '"' || c == '\'':
			n := strings.IndexByte(text[i+1:], c)
			if n < 0 {
				return nil, ruleError(text, i, "the quotation mark is never closed", "put it before and after the name")
			}
			tokens = append(tokens, ruleToken{text: text[i+1 : i+1+n], at: i, quoted: true})
			i += n + 2
		default:
			end := len(text)
			if n := strings.IndexAny(text[i:], ruleSpace+`,"'`); n >= 0 {
				end = i + n
			}
			tokens = append(tokens, ruleToken{text: text[i:end], at: i})
			i = end
		}
	}
	return tokens, nil
}

func ruleError(text string, at int, problem, want string) error {
	return &RuleError{
		Text:    text,
		Column:  utf8.RuneCountInString(text[:min(at, len(text))]) + 1,
		Problem: problem,
		Want:    want,
	}
}

// joinTokens is the text of tokens with sep between them.
func joinTokens(tokens []ruleToken, sep string) string {
	words := make([]string, len(tokens))
	for i, t := range tokens {
		words[i] = t.text
	}
	return strings.Join(words, sep)
}
