package infer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal is a Python literal as str() writes it: metadata of Ultralytics'
// exports are such texts. Exactly one field besides text is set for
// containers; for everything else text is the value (strings unescaped).
type literal struct {
	text  string
	items []literal // list or tuple
	keys  []literal // dict: keys[i] belongs to items[i]
	dict  bool
}

// maxDepth bounds nesting.
const maxDepth = 8

// parseLiteral reads numbers, strings with escapes, True, False, None, lists,
// tuples and dicts, and refuses everything else, trailing text included.
func parseLiteral(s string) (literal, error) {
	p := literalParser{s: s}
	v, err := p.value(0)
	if err == nil && p.skip() != 0 {
		err = p.fail("trailing text")
	}
	return v, err
}

type literalParser struct {
	s  string
	at int
}

func (p *literalParser) fail(what string) error {
	return fmt.Errorf("%s at byte %d", what, p.at)
}

// skip passes blanks and returns the byte that follows, 0 at the end.
func (p *literalParser) skip() byte {
	for p.at < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.s) {
		return 0
	}
	return p.s[p.at]
}

func (p *literalParser) value(depth int) (literal, error) {
	if depth > maxDepth {
		return literal{}, p.fail("nested too deeply")
	}
	switch c := p.skip(); c {
	case '{':
		return p.container('}', true, depth)
	case '[':
		return p.container(']', false, depth)
	case '(':
		return p.container(')', false, depth)
	case '\'', '"':
		s, err := p.str(c)
		return literal{text: s}, err
	case 0:
		return literal{}, p.fail("unexpected end")
	}
	start := p.at
	for p.at < len(p.s) && strings.IndexByte(",:]}) \t\r\n", p.s[p.at]) < 0 {
		p.at++
	}
	word := p.s[start:p.at]
	if _, err := strconv.ParseFloat(word, 64); err == nil || word == "True" || word == "False" || word == "None" {
		return literal{text: word}, nil
	}
	p.at = start
	return literal{}, p.fail("unknown value")
}

func (p *literalParser) container(end byte, dict bool, depth int) (literal, error) {
	v := literal{dict: dict, items: []literal{}}
	p.at++
	for {
		if p.skip() == end {
			p.at++
			return v, nil
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		if dict {
			if p.skip() != ':' {
				return v, p.fail("expected a colon")
			}
			p.at++
			v.keys = append(v.keys, item)
			if item, err = p.value(depth + 1); err != nil {
				return v, err
			}
		}
		v.items = append(v.items, item)
		switch p.skip() {
		case ',':
			p.at++
		case end:
		default:
			return v, p.fail("expected a comma")
		}
	}
}

func (p *literalParser) str(quote byte) (string, error) {
	p.at++
	var b strings.Builder
	for p.at < len(p.s) {
		c := p.s[p.at]
		p.at++
		switch c {
		case quote:
			return b.String(), nil
		case '\\':
			if err := p.escape(&b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", p.fail("string without an end")
}

func (p *literalParser) escape(b *strings.Builder) error {
	if p.at == len(p.s) {
		return p.fail("string without an end")
	}
	c := p.s[p.at]
	p.at++
	digits := 0
	switch c {
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case '\\', '\'', '"':
		b.WriteByte(c)
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default: // Python leaves an unknown escape as it stands
		b.WriteByte('\\')
		b.WriteByte(c)
	}
	if digits == 0 {
		return nil
	}
	if p.at+digits > len(p.s) {
		return p.fail("short escape")
	}
	n, err := strconv.ParseUint(p.s[p.at:p.at+digits], 16, 32)
	if err != nil || n > utf8.MaxRune {
		return p.fail("bad escape")
	}
	p.at += digits
	b.WriteRune(rune(n))
	return nil
}

// get is the value of a dict's key; ok is false for everything but a dict that has it.
func (l literal) get(key string) (v literal, ok bool) {
	for i, k := range l.keys {
		if k.text == key {
			return l.items[i], true
		}
	}
	return literal{}, false
}
