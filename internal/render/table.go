package render

import (
	"io"
	"strings"
	"unicode/utf8"
)

// style is how a cell looks on a terminal: an SGR sequence's parameters.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
)

// cell is one place in a table.
type cell struct {
	text  string
	style style
	span  int // how many columns it takes; 0 means 1
}

func text(s string) cell { return cell{text: s} }

// column is a column's head and side.
type column struct {
	head  string
	right bool // numbers
	min   int  // width, for tables that are printed before all rows are known
}

const gap = "  "

// table aligns rows. Columns grow with their cells; the last one of a row is never padded.
type table struct {
	columns []column
	rows    []row
	widths  []int
	headed  bool // the head is printed, or there is none
}

// row is cells, or one line of text that takes no part in the alignment.
type row struct {
	cells []cell
	line  string
}

// newTable makes a table with heads; one where all heads are "" has none.
func newTable(columns ...column) *table {
	t := &table{columns: columns, widths: make([]int, len(columns)), headed: true}
	for i, c := range columns {
		t.widths[i] = max(c.min, width(c.head))
		t.headed = t.headed && c.head == ""
	}
	return t
}

// bare makes n columns without heads.
func bare(n int) *table { return newTable(make([]column, n)...) }

func (t *table) add(cells ...cell) { t.rows = append(t.rows, row{cells: cells}) }

func (t *table) line(s string) { t.rows = append(t.rows, row{line: s}) }

// flush prints the rows added since the last flush, with columns at least as wide as before.
func (t *table) flush(w io.Writer, color bool) error {
	for i := range t.rows {
		t.clean(t.rows[i].cells)
		t.measure(t.rows[i].cells)
	}
	var b strings.Builder
	if !t.headed {
		t.headed = true
		head := make([]cell, len(t.columns))
		for i, c := range t.columns {
			head[i] = cell{text: c.head, style: bold}
		}
		t.write(&b, head, color)
	}
	for _, r := range t.rows {
		if r.cells == nil {
			b.WriteString(printable(r.line) + "\n")
			continue
		}
		t.write(&b, r.cells, color)
	}
	t.rows = nil
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) clean(cells []cell) {
	for i := range cells {
		cells[i].text = printable(cells[i].text)
	}
}

// measure widens columns for a row. A cell over several columns widens the last of them, unless it ends the row.
func (t *table) measure(cells []cell) {
	col := 0
	for i, c := range cells {
		span := max(1, c.span)
		last := col + span - 1
		have := t.spanWidth(col, last)
		if need := width(c.text); need > have && (span == 1 || i < len(cells)-1) {
			t.widths[last] += need - have
		}
		col = last + 1
	}
}

func (t *table) spanWidth(from, to int) int {
	n := len(gap) * (to - from)
	for i := from; i <= to; i++ {
		n += t.widths[i]
	}
	return n
}

// write prints one row. Nothing stands behind its last cell that has text.
func (t *table) write(b *strings.Builder, cells []cell, color bool) {
	end := len(cells)
	for end > 0 && cells[end-1].text == "" {
		end--
	}
	col := 0
	for i, c := range cells[:end] {
		last := col + max(1, c.span) - 1
		pad := strings.Repeat(" ", max(0, t.spanWidth(col, last)-width(c.text)))
		if t.columns[col].right {
			b.WriteString(pad)
			pad = ""
		}
		b.WriteString(paint(c.text, c.style, color))
		if i < end-1 {
			b.WriteString(pad + gap)
		}
		col = last + 1
	}
	b.WriteString("\n")
}

func paint(s string, st style, color bool) string {
	if !color || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// width is the number of columns a text takes. Names and addresses are ASCII; other text counts one a character.
func width(s string) int { return utf8.RuneCountInString(s) }
