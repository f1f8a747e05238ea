package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/sightline-edge/sightline/vision"
)

// decoder fills a Config from YAML and notes where each value stood. It goes
// on after a fault, so that all of them are told at once.
type decoder struct {
	file   string
	lines  map[string]int
	faults Faults
	broken bool // so wrong that checking the values would only add noise
}

func (d *decoder) fault(line int, key, format string, args ...any) {
	d.faults = append(d.faults, Fault{File: d.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) decode(text []byte, c *Config) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.broken = true
		d.syntax(err)
		return
	}
	body, ok := d.document(file)
	if !ok {
		d.broken = true
		return
	}
	if body == nil {
		d.lines[""] = 1
		return // empty: the checks tell what is missing
	}
	if _, ok := pairs(body); !ok {
		d.broken = true
		d.fault(lineAt(body), "", "the file must hold settings as \"key: value\", got %s", kindOf(body))
		return
	}
	d.value(body, "", reflect.ValueOf(c).Elem())
}

func (d *decoder) syntax(err error) {
	var se *yaml.SyntaxError
	if !errors.As(err, &se) || se.Token == nil || se.Token.Position == nil {
		d.fault(0, "", "not YAML: %v", firstLine(err.Error()))
		return
	}
	line, text := se.Token.Position.Line, se.Message
	switch {
	case strings.Contains(text, "found character '\t'"):
		text = "a tab: YAML is indented with spaces"
	default:
		text = "not YAML: " + firstLine(text)
	}
	d.fault(line, "", "%s", position.ReplaceAllString(text, "line $1"))
}

// position is how the parser writes where something is.
var position = regexp.MustCompile(`\[(\d+):\d+\]`)

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// document is the body of the only document, nil if there is none.
func (d *decoder) document(file *ast.File) (ast.Node, bool) {
	var body ast.Node
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.NullNode, *ast.CommentGroupNode:
			continue
		}
		if body != nil {
			d.fault(lineAt(doc.Body), "", "a second document: a configuration is one document, remove the line \"---\"")
			return nil, false
		}
		body = doc.Body
	}
	return body, true
}

// value decodes one node into v, whose path is key.
func (d *decoder) value(n ast.Node, key string, v reflect.Value) {
	line := lineAt(n)
	switch x := n.(type) {
	case nil, *ast.NullNode:
		d.fault(max(line, lineOf(d.lines, key)), key, "has no value: give one, or remove the line")
		return
	case *ast.AnchorNode, *ast.AliasNode:
		d.fault(line, key, "anchors (&) and aliases (*) aren't read: write the value out")
		return
	case *ast.TagNode:
		d.fault(line, key, "the tag %s isn't read: remove it", x.Start.Value)
		return
	}
	d.lines[key] = line
	switch p := v.Addr().Interface().(type) {
	case *Camera:
		if name, ok := plain(n); ok {
			p.ID, p.named = name, true
			return
		}
	case *time.Duration:
		d.duration(n, key, p)
		return
	case *map[string]vision.Role:
		d.roles(n, key, p)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, key, v)
	case reflect.Slice:
		d.list(n, key, v)
	default:
		d.scalar(n, key, v)
	}
}

func (d *decoder) mapping(n ast.Node, key string, v reflect.Value) {
	values, ok := pairs(n)
	if !ok {
		d.fault(lineAt(n), key, "must hold settings as \"key: value\", got %s", kindOf(n))
		return
	}
	known := fields(v.Type())
	for _, pair := range values {
		name, line := keyName(pair), lineAt(pair.Key)
		if _, ok := pair.Key.(*ast.MergeKeyNode); ok {
			d.fault(line, key, "merging (<<) isn't read: write the values out")
			continue
		}
		i := slices.Index(known, name)
		if i < 0 {
			d.unknown(line, join(key, name), name, known)
			continue
		}
		path := join(key, name)
		if before, twice := d.lines[path]; twice {
			d.fault(line, path, "is set a second time, first in line %d: keep one of them", before)
			continue
		}
		d.lines[path] = line
		d.value(pair.Value, path, v.Field(i))
	}
}

func (d *decoder) unknown(line int, path, name string, known []string) {
	known = slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })
	if near := nearest(name, known); near != "" {
		d.fault(line, path, "there is no such setting; did you mean %s?", near)
		return
	}
	d.fault(line, path, "there is no such setting; there are %s", strings.Join(known, ", "))
}

func (d *decoder) list(n ast.Node, key string, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(lineAt(n), key, "must be a list, each entry begun with \"- \", got %s", kindOf(n))
		return
	}
	for i, entry := range seq.Values {
		e := reflect.New(v.Type().Elem()).Elem()
		switch e.Interface().(type) {
		case Station:
			e.Set(reflect.ValueOf(DefaultStation()))
		case Camera:
			e.Set(reflect.ValueOf(DefaultCamera()))
		case Door:
			e.Set(reflect.ValueOf(DefaultDoor()))
		case Recipe:
			e.Set(reflect.ValueOf(defaultRecipe()))
		}
		d.value(entry, fmt.Sprintf("%s[%d]", key, i), e)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) scalar(n ast.Node, key string, v reflect.Value) {
	text, ok := plain(n)
	bad := func(what string) { d.fault(lineAt(n), key, "must be %s, got %s", what, seen(n)) }
	switch v.Kind() {
	case reflect.String:
		if _, isBool := n.(*ast.BoolNode); !ok || isBool {
			bad("text; put it in quotes")
			return
		}
		v.SetString(text)
	case reflect.Bool:
		b, isBool := n.(*ast.BoolNode)
		if !isBool {
			bad("true or false")
			return
		}
		v.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.Atoi(text)
		if _, isInt := n.(*ast.IntegerNode); !isInt || err != nil {
			bad("a whole number")
			return
		}
		v.SetInt(int64(i))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
		default:
			err = strconv.ErrSyntax
		}
		if err != nil {
			bad("a number")
			return
		}
		v.SetFloat(f)
	default:
		panic("BUG: no decoder for " + v.Type().String())
	}
}

func (d *decoder) duration(n ast.Node, key string, p *time.Duration) {
	text, ok := plain(n)
	t, err := time.ParseDuration(text)
	if !ok || err != nil {
		d.fault(lineAt(n), key, "must be a time with its unit, as 500ms or 2s, got %s", seen(n))
		return
	}
	*p = t
}

func (d *decoder) roles(n ast.Node, key string, p *map[string]vision.Role) {
	values, ok := pairs(n)
	if !ok {
		d.fault(lineAt(n), key, "must be labels and their roles, as {part: part, scratch: defect}, got %s", kindOf(n))
		return
	}
	roles := map[string]vision.Role{}
	for _, pair := range values {
		name := keyName(pair)
		text, _ := plain(pair.Value)
		if _, twice := roles[name]; twice {
			d.fault(lineAt(pair.Key), join(key, name), "is set a second time: keep one of them")
			continue
		}
		role, ok := vision.ParseRole(text)
		if !ok {
			d.fault(lineAt(pair.Key), join(key, name), "must be part, defect or ignored, got %s", seen(pair.Value))
			continue
		}
		roles[name] = role
	}
	*p = roles
}
