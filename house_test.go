package sightline_test

import (
	"bytes"
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The hard limits; the aim is 400 lines and 45.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

func TestSizes(t *testing.T) {
	for _, f := range tree(t) {
		if f.made {
			continue
		}
		if n := bytes.Count(f.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d: split it by noun", f.path, n, maxFileLines)
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && f.lines(fn) > maxFunctionLines {
				t.Errorf("%s: func %s has %d lines, at most %d", f.path, fn.Name.Name, f.lines(fn), maxFunctionLines)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	first, documented := map[string]string{}, map[string]bool{}
	for _, f := range tree(t) {
		if f.test && f.pkg != "." && f.pkg != "cmd/e2e" {
			continue
		}
		if first[f.pkg] == "" {
			first[f.pkg] = f.path
		}
		if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
			documented[f.pkg] = true
		}
	}
	for pkg, file := range first {
		if !documented[pkg] {
			t.Errorf("%s: package %s has no package comment", file, pkg)
		}
	}
}

func TestNoInitAndNoSleepInTests(t *testing.T) {
	for _, f := range tree(t) {
		if f.made {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init runs where nobody sees it: do it where it is used", f.path)
			}
		}
		if !f.test || usesSynctest(f) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Sleep" {
				return true
			}
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "time" {
				t.Errorf("%s: a sleep in a test: wait for the thing itself, or use testing/synctest",
					f.fset.Position(sel.Pos()))
			}
			return true
		})
	}
}

// In a synctest bubble sleeping costs no time and is exact.
func usesSynctest(f source) bool {
	for _, imp := range f.imports {
		if imp.path == "testing/synctest" {
			return true
		}
	}
	return false
}

// The three kinds of text that only its author needs. Written in pieces, so
// that this file doesn't find itself.
var unwanted = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a note to finish it later", regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`)},
	{"a path of somebody's machine", regexp.MustCompile(`(/wo` + `rk/(main|shared)|/ho` + `me/[a-z]+/|/ro` + `ot/)`)},
	{"a key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIV` + `ATE KEY-----`)},
}

// Text files that people read and write.
var textual = regexp.MustCompile(`(\.(go|md|sh|py|c|h|css|js|html|tmpl|txt|txtar|ya?ml|json|toml|mod)|Makefile|\.ci/[a-z-]+)$`)

func TestTextIsForEveryone(t *testing.T) {
	walk(t, func(file string) {
		if !textual.MatchString(file) {
			return
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			return
		}
		number := 0
		for line := range bytes.Lines(text) {
			number++
			for _, u := range unwanted {
				if m := u.pattern.Find(line); m != nil {
					t.Errorf("%s:%d: %s: %q", file, number, u.what, m)
				}
			}
		}
	})
}
