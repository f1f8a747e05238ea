package sightline_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A source is one Go file of the tree, parsed here rather than by the go
// command: go list's answer would come from the test cache.
type source struct {
	path    string // from the top of the tree, with slashes
	pkg     string // its folder, "." for the top
	name    string // of the file
	tags    string // its //go:build expression
	test    bool
	made    bool // generated
	imports []imported
	fset    *token.FileSet
	ast     *ast.File
	text    []byte
}

type imported struct{ name, path string }

// Folders that are no part of the source tree.
var skipped = map[string]bool{"build": true, "bin": true, "third_party": true, "testdata": true, "node_modules": true}

func walk(t *testing.T, each func(file string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] || file != "." && strings.HasPrefix(d.Name(), ".") && d.Name() != ".ci" {
				return filepath.SkipDir
			}
			return nil
		}
		each(filepath.ToSlash(file))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tree parses every Go file that belongs to a package.
func tree(t *testing.T) []source {
	t.Helper()
	var all []source
	walk(t, func(file string) {
		if strings.HasSuffix(file, ".go") && !strings.HasPrefix(file, ".ci/") {
			all = append(all, parse(t, file))
		}
	})
	if len(all) < 3 {
		t.Fatalf("found only %d Go files: does the test run at the top of the tree?", len(all))
	}
	return all
}

func parse(t *testing.T, file string) source {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("parse %s: %v", file, err)
	}
	s := source{
		path: file, pkg: path.Dir(file), name: path.Base(file),
		test: strings.HasSuffix(file, "_test.go"), made: ast.IsGenerated(parsed),
		fset: fset, ast: parsed, text: text,
	}
	for line := range strings.Lines(string(text)) {
		if expr, ok := strings.CutPrefix(line, "//go:build "); ok {
			s.tags = strings.TrimSpace(expr)
			break
		}
	}
	for _, imp := range parsed.Imports {
		p, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			t.Fatalf("%s: import %s: %v", file, imp.Path.Value, err)
		}
		i := imported{path: p}
		if imp.Name != nil {
			i.name = imp.Name.Name
		}
		s.imports = append(s.imports, i)
	}
	return s
}

// lines is the number of lines that a node takes.
func (s source) lines(n ast.Node) int {
	return s.fset.Position(n.End()).Line - s.fset.Position(n.Pos()).Line + 1
}
