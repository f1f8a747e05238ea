// Package sightline_test keeps the shape of the tree: which packages there
// are, which of them may import which, and how large a file may grow.
package sightline_test

import (
	"slices"
	"strings"
	"testing"
)

// A rule says what one package may import of this module, and whether it may
// call C. Patterns end in /* for everything below a folder.
type rule struct {
	imports []string // packages of this module, relative to its top
	outside []string // if not nil: the only modules besides std; {"none"} for std alone
	c       []string // files that may import "C" or a package that is C
	program bool     // package main
	leaf    string   // why nothing of ours may be imported, for the message
}

const module = "github.com/sightline-edge/sightline"

// The packages of the tree. One that is not listed here is an error, so that a
// new one is a decision.
var packages = map[string]rule{
	".": {},

	"vision":             {outside: []string{"none"}},
	"vision/shm":         {imports: []string{"vision"}},
	"vision/picture":     {imports: []string{"vision"}},
	"vision/optics":      {imports: []string{"vision"}},
	"vision/quality":     {imports: []string{"vision"}},
	"vision/change":      {imports: []string{"vision"}},
	"vision/capture":     {imports: []string{"vision", "vision/shm", "vision/picture", "vision/optics", "internal/lean"}, c: []string{"gst_media.go", "aravis_media.go", "film_media.go"}},
	"vision/infer":       {imports: []string{"vision", "vision/shm", "vision/picture", "internal/lean", "internal/prompt", "internal/whole"}, c: []string{"fill_cgo.go", "gpu_cgo.go"}},
	"vision/sched":       {outside: []string{"none"}},
	"vision/track":       {imports: []string{"vision"}},
	"vision/rules":       {imports: []string{"vision", "vision/rules/guest"}},
	"vision/rules/guest": {outside: []string{"none"}},
	"vision/rules/std":   {imports: []string{"vision/rules/guest"}, outside: []string{"none"}, program: true},
	"vision/scene":       {imports: []string{"vision", "vision/picture"}},
	"vision/scene/ipcam": {imports: []string{"vision", "vision/scene", "vision/picture"}},
	"vision/models":      {imports: []string{"vision", "updater/bundle"}},
	"vision/coco":        {imports: []string{"vision"}},
	"vision/paint":       {imports: []string{"vision"}},
	"vision/score":       {imports: []string{"vision", "vision/coco"}},
	"vision/eval":        {imports: []string{"vision", "vision/coco", "vision/score", "vision/infer", "vision/paint"}},

	"agent":        {imports: []string{"vision", "vision/*", "sync/wire", "sync/wire/rest", "sync/journal", "board", "agent/*", "internal/*"}},
	"agent/config": {imports: []string{"vision"}},
	"agent/plc":    {imports: []string{"vision"}},
	"agent/oip":    {imports: []string{"vision/infer", "vision/sched", "internal/web"}},
	"agent/api":    {imports: []string{"vision", "sync/wire/rest", "board", "internal/*"}},

	"sync/wire":      {imports: []string{"vision"}},
	"sync/wire/rest": {imports: []string{"vision", "sync/wire"}},
	"sync/journal":   {imports: []string{"vision", "sync/wire", "internal/health", "internal/whole"}},
	"sync/identity":  {imports: []string{"sync/wire", "internal/whole"}},
	"sync/uplink":    {imports: []string{"sync/wire", "sync/journal", "sync/identity"}},

	"updater":          {imports: []string{"updater/*", "sync/wire", "vision"}},
	"updater/bundle":   {imports: []string{"vision", "internal/whole"}},
	"updater/trust":    {leaf: "it decides by what it is given, and knows neither disk nor network"},
	"updater/mirror":   {imports: []string{"updater/trust", "internal/whole"}},
	"updater/publish":  {imports: []string{"updater/trust", "updater/bundle", "internal/whole"}},
	"updater/transfer": {imports: []string{"sync/wire"}},
	"updater/gate":     {imports: []string{"vision", "vision/*", "updater/bundle"}},

	"board":   {leaf: "it reads hardware for whoever asks"},
	"systemd": {leaf: "it talks to the service manager alone"},

	"fleet":         {imports: []string{"fleet/*", "sync/wire", "internal/*"}},
	"fleet/store":   {imports: []string{"vision", "sync/wire", "internal/auth", "internal/whole"}},
	"fleet/enroll":  {imports: []string{"fleet/store", "sync/wire", "internal/whole"}},
	"fleet/broker":  {imports: []string{"sync/wire"}},
	"fleet/ingest":  {imports: []string{"fleet/store", "sync/wire"}},
	"fleet/depot":   {imports: []string{"fleet/store", "sync/wire", "updater/bundle", "updater/publish", "updater/trust", "internal/whole"}},
	"fleet/rollout": {imports: []string{"fleet/store", "fleet/depot", "sync/wire"}},
	"fleet/api":     {imports: []string{"vision", "fleet/store", "fleet/enroll", "fleet/depot", "fleet/rollout", "sync/wire", "sync/wire/rest", "internal/*"}},

	"internal/auth":   {leaf: "internal packages are leaves"},
	"internal/health": {leaf: "internal packages are leaves"},
	"internal/prompt": {leaf: "internal packages are leaves"},
	"internal/lean":   {c: []string{"lean_cgo.go"}, leaf: "internal packages are leaves"},
	"internal/web":    {leaf: "internal packages are leaves"},
	"internal/whole":  {leaf: "internal packages are leaves"},

	"cmd/sightline-agent":    {imports: []string{"*"}, program: true},
	"cmd/sightline-capture":  {imports: []string{"*"}, program: true},
	"cmd/sightline-fleet":    {imports: []string{"*"}, program: true},
	"cmd/sightline":          {imports: []string{"*"}, program: true},
	"cmd/sightline-bench":    {imports: []string{"*"}, program: true},
	"cmd/internal/cli":       {},
	"cmd/internal/cable":     {},
	"cmd/internal/modelfile": {imports: []string{"vision/infer", "updater/bundle"}},
	"cmd/internal/mutant":    {imports: []string{"vision", "vision/models", "vision/picture", "vision/scene", "updater/bundle"}},
	"cmd/e2e":                {imports: []string{"*"}},
}

// Modules that are C inside, and the packages that may import them. gocv also
// needs the build tag.
var native = map[string][]string{
	"github.com/yalue/onnxruntime_go":    {"vision/infer", "cmd/sightline-bench"},
	"gocv.io/x/gocv":                     {"vision/capture", "cmd/sightline-capture"},
	"github.com/NVIDIA/go-nvml/pkg/nvml": {"board"},
}

// What any test may use rather than a fake of it: drawn scenes, pictures, the
// shipped model, the real journal.
var testEquipment = []string{
	"vision", "vision/shm", "vision/picture", "vision/scene", "vision/scene/ipcam", "vision/track",
	"vision/models", "updater/bundle", "updater/trust", "updater/publish", "sync/journal", "sync/wire",
}

// Programs that are built with CGO_ENABLED=0, for any Linux.
var pureGo = []string{"cmd/sightline", "cmd/sightline-fleet"}

func TestEveryPackageIsListed(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range tree(t) {
		if _, ok := packages[f.pkg]; !ok && !seen[f.pkg] {
			t.Errorf("%s: package %q is not listed in arch_test.go: list it with what it may import", f.path, f.pkg)
		}
		seen[f.pkg] = true
	}
}

func TestImports(t *testing.T) {
	for _, f := range tree(t) {
		r, ok := packages[f.pkg]
		if !ok || f.pkg == "." {
			continue
		}
		if gocv := native["gocv.io/x/gocv"]; strings.Contains(f.tags, "gocv") && !slices.Contains(gocv, f.pkg) {
			t.Errorf("%s has the build tag gocv: only %s may", f.path, strings.Join(gocv, ", "))
		}
		for _, imp := range f.imports {
			if why := forbidden(f, r, imp.path); why != "" {
				t.Errorf("%s imports %s: %s", f.path, imp.path, why)
			}
			if !f.made && (imp.path == "sync" || imp.path == "golang.org/x/sync/errgroup") && imp.name != "" {
				t.Errorf("%s imports %s under the name %s: use it by its own", f.path, imp.path, imp.name)
			}
		}
	}
}

// forbidden says why a file must not import path, or "".
func forbidden(f source, r rule, path string) string {
	if path == "C" {
		if !slices.Contains(r.c, f.name) {
			return "cgo stands only in the files that arch_test.go names"
		}
		return ""
	}
	if ours, ok := strings.CutPrefix(path, module+"/"); ok {
		return forbiddenInside(f, r, ours)
	}
	if users, ok := native[path]; ok {
		if !slices.Contains(users, f.pkg) {
			return "only " + strings.Join(users, ", ") + " may"
		}
		if path == "gocv.io/x/gocv" && !strings.Contains(f.tags, "gocv") {
			return "the file needs //go:build gocv, and a partner without it"
		}
		return ""
	}
	outside := strings.Contains(strings.SplitN(path, "/", 2)[0], ".")
	if outside && r.outside != nil && !f.test && !slices.Contains(r.outside, path) {
		return f.pkg + " imports the standard library alone"
	}
	return ""
}

func forbiddenInside(f source, r rule, ours string) string {
	if f.test && ours == f.pkg { // an external test of the package itself
		return ""
	}
	if fleet := strings.HasPrefix(f.pkg, "fleet"); fleet && under(ours, "agent") ||
		under(f.pkg, "agent") && under(ours, "fleet") {
		return "agent and fleet never import each other"
	}
	if packages[ours].program {
		return "nothing imports a program"
	}
	if under(ours, "cmd") && !under(f.pkg, "cmd") {
		return "only programs import what programs share"
	}
	if f.test && slices.Contains(testEquipment, ours) {
		return ""
	}
	for _, p := range r.imports {
		if p == ours || p == "*" || strings.HasSuffix(p, "/*") && strings.HasPrefix(ours, strings.TrimSuffix(p, "*")) {
			return ""
		}
	}
	if r.leaf != "" {
		return r.leaf
	}
	return "of this module " + f.pkg + " may import only: " + strings.Join(r.imports, ", ")
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		pkg, name, tags, path string
		want                  string // a piece of the reason; "" if it is allowed
	}{
		{"vision", "a.go", "", "sort", ""},
		{"vision", "a.go", "", "golang.org/x/sys/unix", "standard library alone"},
		{"vision", "a_test.go", "", "github.com/google/go-cmp/cmp", ""},
		{"vision", "a.go", "", module + "/vision/track", "may import only"},
		{"vision/track", "a.go", "", module + "/vision", ""},
		{"vision/capture", "a.go", "", module + "/vision/infer", "may import only"},
		{"vision/infer", "a.go", "", module + "/vision/capture", "may import only"},
		{"vision/capture", "a.go", "", module + "/vision/shm", ""},
		{"vision/track", "a_test.go", "", module + "/vision/scene", ""},
		{"agent", "a.go", "", module + "/vision/rules", ""},
		{"agent", "a.go", "", module + "/sync/journal", ""},
		{"agent", "a.go", "", module + "/updater/bundle", "may import only"},
		{"agent", "a.go", "", module + "/fleet/store", "never import each other"},
		{"fleet/store", "a.go", "", module + "/agent/api", "never import each other"},
		{"agent/api", "a.go", "", module + "/agent/config", "may import only"},
		{"agent/api", "a.go", "", module + "/internal/health", ""},
		{"internal/health", "a.go", "", module + "/vision", "leaves"},
		{"agent", "a.go", "", module + "/cmd/sightline", "imports a program"},
		{"agent", "a.go", "", module + "/cmd/internal/cli", "only programs"},
		{"cmd/sightline", "a.go", "", module + "/sync/journal", ""},
		{"vision/infer", "fill_cgo.go", "cgo", "C", ""},
		{"vision/infer", "a.go", "", "C", "cgo stands only"},
		{"agent", "a.go", "", "gocv.io/x/gocv", "only vision/capture"},
		{"vision/capture", "a.go", "", "gocv.io/x/gocv", "//go:build gocv"},
		{"vision/capture", "a.go", "cgo && gocv", "gocv.io/x/gocv", ""},
		{"cmd/sightline", "a.go", "", "github.com/yalue/onnxruntime_go", "only vision/infer"},
	} {
		f := source{pkg: c.pkg, name: c.name, tags: c.tags, test: strings.HasSuffix(c.name, "_test.go")}
		got := forbidden(f, packages[c.pkg], c.path)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s/%s imports %s: got %q, want %q", c.pkg, c.name, c.path, got, c.want)
		}
	}
}

// Leaves of the agent are imported by it, so they can't import each other or it.
func TestAgentsLeavesStayLeaves(t *testing.T) {
	for name, r := range packages {
		if strings.HasPrefix(name, "agent/") {
			for _, imp := range r.imports {
				if under(imp, "agent") {
					t.Errorf("%s lists %s: it is a leaf of agent", name, imp)
				}
			}
		}
	}
}

func TestPureGoPrograms(t *testing.T) {
	imports := map[string]map[string]bool{}
	for _, f := range tree(t) {
		if f.test || strings.HasPrefix(f.tags, "cgo") || strings.Contains(f.tags, "gocv") { // not built without cgo
			continue
		}
		if imports[f.pkg] == nil {
			imports[f.pkg] = map[string]bool{}
		}
		for _, imp := range f.imports {
			imports[f.pkg][imp.path] = true
		}
	}
	for _, program := range pureGo {
		reached := map[string]bool{}
		var walk func(pkg, way string)
		walk = func(pkg, way string) {
			if reached[pkg] {
				return
			}
			reached[pkg] = true
			for path := range imports[pkg] {
				if _, isC := native[path]; isC {
					t.Errorf("%s is built without cgo, but imports %s by way of %s", program, path, way)
				}
				if ours, ok := strings.CutPrefix(path, module+"/"); ok {
					walk(ours, way+" → "+ours)
				}
			}
		}
		walk(program, program)
	}
}

func under(pkg, folder string) bool {
	return pkg == folder || strings.HasPrefix(pkg, folder+"/")
}
