package lab

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scalar decodes text, numbers, truth values, addresses and lengths of time; false if v is of none of these types.
func (d *decoder) scalar(n ast.Node, v reflect.Value, path string) bool {
	switch target := v.Addr().Interface().(type) {
	case *netip.Addr:
		*target = d.addr(n, path)
	case *netip.Prefix:
		*target = d.prefix(n, path)
	case *time.Duration:
		*target = d.duration(n, path)
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString(d.text(n, path))
		case reflect.Int:
			v.SetInt(int64(d.number(n, path)))
		case reflect.Bool:
			v.SetBool(d.truth(n, path))
		default:
			return false
		}
	}
	return true
}

// textOf gives a node's text if it is text.
func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return strings.TrimSpace(n.Value.Value), true
	}
	return "", false
}

func (d *decoder) text(n ast.Node, path string) string {
	s, ok := textOf(n)
	switch {
	case !ok && isScalar(n):
		d.bad(n, path, kindOf(n)+" stands where text is expected", fmt.Sprintf("write it in quotes: %q", n.GetToken().Value))
	case !ok:
		d.bad(n, path, kindOf(n)+" stands where text is expected", "")
	case s == "":
		d.bad(n, path, "the text is empty", "give it a value, or leave the field out")
	}
	return s
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}

func (d *decoder) number(n ast.Node, path string) int {
	token := n.GetToken().Value
	i, err := strconv.Atoi(token)
	if _, ok := n.(*ast.IntegerNode); !ok || err != nil || strconv.Itoa(i) != token {
		d.bad(n, path, kindOf(n)+" is not a whole number", "write it in decimal digits")
		return 0
	}
	return i
}

func (d *decoder) truth(n ast.Node, path string) bool {
	b, ok := n.(*ast.BoolNode)
	if !ok {
		d.bad(n, path, kindOf(n)+" is neither true nor false", "")
		return false
	}
	return b.Value
}

func (d *decoder) addr(n ast.Node, path string) netip.Addr {
	s, _ := textOf(n)
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		d.bad(n, path, kindOf(n)+" is not an IP address", "write it like 10.0.1.10 or fd00:1::10")
		return netip.Addr{}
	}
	return a
}

func (d *decoder) prefix(n ast.Node, path string) netip.Prefix {
	s, _ := textOf(n)
	p, err := netip.ParsePrefix(s)
	if a, alone := netip.ParseAddr(s); err != nil && alone == nil && a.Zone() == "" {
		d.bad(n, path, kindOf(n)+" is an address and not a CIDR", fmt.Sprintf("write %s/%d for this address alone", a, a.BitLen()))
		return netip.Prefix{}
	}
	switch {
	case err != nil || p.Addr().Is4In6():
		d.bad(n, path, kindOf(n)+" is not a CIDR", "write it like 10.0.1.0/24 or fd00:1::/64")
		return netip.Prefix{}
	case p != p.Masked():
		d.bad(n, path, fmt.Sprintf("%s has bits set beyond its /%d", p, p.Bits()), fmt.Sprintf("write %s", p.Masked()))
	}
	return p
}

func (d *decoder) duration(n ast.Node, path string) time.Duration {
	s, _ := textOf(n)
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		d.bad(n, path, kindOf(n)+" is not a length of time", "write it like 500ms, 30s or 5m")
		return 0
	}
	return t
}
