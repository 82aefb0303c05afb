package lab

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a lab file, in bytes. A lab of a thousand instances is a tenth of it.
const maxFile = 4 << 20

// syntax is what keeps a text from being YAML.
type syntax struct {
	at           span
	wrong, right string
}

// parseYAML gives the body of the one document in text; nil if there is none. Repeated keys are left to the decoder.
func parseYAML(text string) (ast.Node, *syntax) {
	file, err := parseDocuments(text)
	if err != nil {
		return nil, syntaxOf(err)
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			return nil, &syntax{spanOf(doc.Body), "a second YAML document begins here", "a file is one document: take the --- out, or what follows it"}
		default:
			body = doc.Body
		}
	}
	return body, nil
}

// parseDocuments calls the YAML parser, which is known to panic on some texts that are not YAML.
func parseDocuments(text string) (file *ast.File, err error) {
	defer func() {
		if p := recover(); p != nil {
			file, err = nil, fmt.Errorf("the text cannot be read (%v)", p)
		}
	}()
	return parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
}

const notYAML = "this is not YAML: "

func syntaxOf(err error) *syntax {
	s := &syntax{right: "mend the line, or what it continues"}
	e, ok := errors.AsType[yaml.Error](err)
	if !ok {
		s.wrong = notYAML + strings.TrimSpace(err.Error())
		return s
	}
	s.wrong = notYAML + strings.ReplaceAll(e.GetMessage(), "\t", `\t`)
	if strings.Contains(e.GetMessage(), "\t") || strings.Contains(e.GetMessage(), "tab character") {
		s.right = "indent with blanks, not with tabs"
	}
	if tk := e.GetToken(); tk != nil && tk.Position != nil {
		s.at = span{tk.Position.Line, tk.Position.Column, 1}
	}
	return s
}

// spanOf is where a node begins. Only scalars on one line have a length.
func spanOf(n ast.Node) span {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return spanOf(m.Values[0].Key) // the mapping's own token is its first colon
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return spanOf(m.Key)
	}
	tk := n.GetToken()
	if tk == nil || tk.Position == nil {
		return span{1, 1, 1}
	}
	at := span{tk.Position.Line, tk.Position.Column, 1}
	switch n.(type) {
	case *ast.MappingNode, *ast.SequenceNode, *ast.LiteralNode:
		return at
	}
	if origin := strings.TrimSpace(tk.Origin); !strings.Contains(origin, "\n") {
		at.length = max(1, utf8.RuneCountInString(origin))
	}
	return at
}

// cleanText gives data with line ends as \n and without a byte order mark, or what keeps it from being text.
func cleanText(data []byte) (string, *syntax) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	line := func(i int) span { return span{line: 1 + bytes.Count(data[:i], []byte("\n")), col: 1, length: 1} }
	for i, c := range data {
		if c < ' ' && c != '\n' && c != '\t' {
			return "", &syntax{line(i), notYAML + fmt.Sprintf("it has a control character (byte %#02x)", c), beginning}
		}
	}
	if !utf8.Valid(data) {
		i := 0
		for {
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return "", &syntax{line(i), notYAML + "it is not UTF-8 text", "save it as UTF-8"}
	}
	return string(data), nil
}

// kindOf names a node's kind for people.
func kindOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.LiteralNode:
		return "a block of text"
	}
	return fmt.Sprintf("%q", short(n.GetToken().Value))
}

// short cuts a text that a message quotes.
func short(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
