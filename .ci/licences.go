//go:build ignore

// Licences names the licence of every module that ends up in our programs or
// tests, and fails when one is unknown or not among those that an Apache-2.0
// product may link. Run it from the top of the tree: go run .ci/licences.go
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// A phrase that only this licence's text has, in lower case with single
// spaces. The order matters: those that forbid come before those that allow,
// but for the MPL, whose text names the GPL.
var licences = []struct {
	name, phrase string
	allowed      bool
}{
	{"EDL-1.0", "and eclipse distribution license v1.0 which accompany this distribution", true}, // BSD-3-Clause; offered beside the EPL
	{"MPL-2.0", "mozilla public license version 2.0", true},
	{"MPL-2.0", "mozilla public license, version 2.0", true},
	{"AGPL", "gnu affero general public license version", false},
	{"LGPL", "gnu lesser general public license version", false},
	{"GPL", "gnu general public license", false},
	{"SSPL", "server side public license", false},
	{"BUSL", "business source license", false},
	{"Apache-2.0", "apache license version 2.0", true},
	{"Apache-2.0", "licensed under the apache license, version 2.0", true},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose", true},
	{"ISC", "permission to use, copy, modify, and distribute this software for any purpose", true},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy", true},
	{"BSD", "redistribution and use in source and binary forms", true},
}

func main() {
	modules, err := modules()
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
	count, bad := map[string]int{}, 0
	for path, dir := range modules {
		name, allowed := licence(dir)
		count[name]++
		if !allowed {
			bad++
			fmt.Printf("  %s: %s is not among the licences that we may link\n", path, name)
		}
	}
	var names []string
	for name, n := range count {
		names = append(names, fmt.Sprintf("%s %d", name, n))
	}
	sort.Strings(names)
	fmt.Printf("  %d modules: %s\n", len(modules), strings.Join(names, ", "))
	if bad > 0 {
		os.Exit(1)
	}
}

// modules gives the directory of each module that a package of ours or one of
// its tests imports, however far down, with and without gocv and go-nvml.
func modules() (map[string]string, error) {
	found := map[string]string{}
	for _, tags := range []string{"nvml", "gocv,gocv_specific_modules,gocv_videoio"} {
		cmd := exec.Command("go", "list", "-e", "-deps", "-test", "-tags", tags, "-f",
			"{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Dir}}{{end}}{{end}}", "./...")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for line := range strings.Lines(string(out)) {
			path, dir, ok := strings.Cut(strings.TrimSpace(line), "\t")
			if ok {
				found[path] = dir
			}
		}
	}
	return found, nil
}

// licence reads the files in which modules state theirs.
func licence(dir string) (name string, allowed bool) {
	var text strings.Builder
	for _, pattern := range []string{"LICEN[CS]E*", "licen[cs]e*", "COPYING*"} {
		files, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well-formed
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err == nil {
				text.Write(b)
			}
		}
	}
	flat := strings.ToLower(strings.Join(strings.Fields(text.String()), " "))
	for _, l := range licences {
		if strings.Contains(flat, l.phrase) {
			return l.name, l.allowed
		}
	}
	return "no known licence", false
}
