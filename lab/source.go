package lab

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// source is a file's text by lines, for messages that point into it.
type source struct {
	name  string // as the person typed it
	lines []string
}

func newSource(name, text string) *source {
	return &source{name: name, lines: strings.Split(text, "\n")}
}

// span is a place in a source. Lines and columns count from 1, columns and length in characters.
type span struct{ line, col, length int }

// Pos is where something stands in a lab file; lines and columns count from 1. The zero Pos is nowhere.
type Pos struct {
	File      string // as the person typed it
	Line, Col int
}

// String gives "lab.yaml:12", the form in which verdicts name a rule: the file without its folder. "" for nowhere.
func (p Pos) String() string {
	if p.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", filepath.Base(p.File), p.Line)
}

func (s *source) pos(at span) Pos { return Pos{File: s.name, Line: at.line, Col: at.col} }

// line gives a line's characters without what a terminal would act upon; tabs stay.
func (s *source) line(n int) []rune {
	if n < 1 || n > len(s.lines) {
		return nil
	}
	runes := []rune(s.lines[n-1])
	for i, r := range runes {
		if r != '\t' && !unicode.IsPrint(r) {
			runes[i] = utf8.RuneError
		}
	}
	return runes
}

// excerptWidth bounds the source text that an excerpt shows.
const excerptWidth = 120

// excerpt shows the line of a span with a caret under it, "" if the span is not in the text:
//
//	12 |   web-1: { subnet: public, ip: 10.0.9.9 }
//	   |                                ^^^^^^^^
func (s *source) excerpt(at span) string {
	text := s.line(at.line)
	if len(text) == 0 || at.col < 1 || at.col > len(text)+1 {
		return ""
	}
	start := 0
	if at.col > excerptWidth/2 && len(text) > excerptWidth {
		start = at.col - excerptWidth/2
	}
	end := min(len(text), start+excerptWidth)
	under := make([]rune, 0, excerptWidth)
	for _, r := range text[start : at.col-1] {
		if r != '\t' {
			r = ' '
		}
		under = append(under, r)
	}
	carets := strings.Repeat("^", max(1, min(at.length, end-at.col+1)))
	number := fmt.Sprint(at.line)
	return fmt.Sprintf("%s | %s\n%s | %s%s", number, string(text[start:end]), strings.Repeat(" ", len(number)), string(under), carets)
}
