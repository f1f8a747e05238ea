package rules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// maxLog is how much of what a guest writes is kept for the error text, bytes.
const maxLog = 2048

// Module is a compiled rule without parameters. Its instances serve all the
// rules made from it. It is safe for concurrent use.
type Module struct {
	name     string
	digest   string
	limit    time.Duration
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	keep     int // idle instances kept at most
	users    int // rules that share it; protected by Engine.sharing

	mu   sync.Mutex // protects idle
	idle []*instance
}

// Name is the name given to Compile.
func (m *Module) Name() string { return m.name }

// Digest is the SHA-256 of the module's bytes, in hex: what sha256sum says of
// its file.
func (m *Module) Digest() string { return m.digest }

// Close frees the module's idle instances and its code. Its rules fail from
// then on.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	idle := m.idle
	m.idle, m.keep = nil, 0
	m.mu.Unlock()
	var errs []error
	for _, i := range idle {
		errs = append(errs, i.mod.Close(ctx))
	}
	return errors.Join(append(errs, m.compiled.Close(ctx))...)
}

// Rule gives the module its parameters and makes the first instance, so that
// a rule that can't start, or refuses the parameters, is told here.
func (m *Module) Rule(ctx context.Context, params string) (*Rule, error) {
	if len(params) > maxText {
		return nil, fmt.Errorf("rule %s: the parameters have %d bytes, at most %d will do", m.name, len(params), maxText)
	}
	r := &Rule{module: m, params: params, name: Spec{Module: m.name, Params: params}.String()}
	i, err := m.take(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", m.name, err)
	}
	m.put(ctx, i)
	return r, nil
}

// take gives an idle instance that knows the rule's parameters, else any idle
// one, else a new one, ready to decide for the rule. The caller owns it.
func (m *Module) take(ctx context.Context, r *Rule) (*instance, error) {
	i := m.pick(r)
	if i == nil {
		made, err := m.start(ctx)
		if err != nil {
			return nil, err
		}
		i = made
	}
	if i.serves == r {
		return i, nil
	}
	if err := i.configure(ctx, m.limit, r.params); err != nil {
		return nil, errors.Join(err, i.mod.Close(ctx))
	}
	i.serves = r
	return i, nil
}

func (m *Module) pick(r *Rule) *instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := len(m.idle) - 1
	for n, i := range m.idle {
		if i.serves == r {
			at = n
		}
	}
	if at < 0 {
		return nil
	}
	i := m.idle[at]
	m.idle = append(m.idle[:at], m.idle[at+1:]...)
	return i
}

// put takes back an instance that worked.
func (m *Module) put(ctx context.Context, i *instance) {
	m.mu.Lock()
	kept := len(m.idle) < m.keep
	if kept {
		m.idle = append(m.idle, i)
	}
	m.mu.Unlock()
	if !kept {
		_ = i.mod.Close(ctx) // one instance too many: its memory is freed either way
	}
}

// start makes an instance. Its WASI is empty and answers the same each time:
// no arguments, environment or files, one random sequence, a clock that
// stands still but for the guest's own sleeps.
func (m *Module) start(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	i := &instance{}
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions("_initialize").
		WithStdout(&i.log).WithStderr(&i.log).
		WithWalltime(func() (int64, int32) { return 946684800 + i.slept/1e9, int32(i.slept % 1e9) }, 1000).
		WithNanotime(func() int64 { return 1e9 + i.slept }, 1000).
		WithNanosleep(func(ns int64) { i.slept += max(ns, 0) })
	mod, err := m.runtime.InstantiateModule(ctx, m.compiled, cfg)
	if err != nil {
		return nil, fmt.Errorf("start the module: %w%s", readable(err), i.log.tail())
	}
	i.mod, i.mem = mod, mod.Memory()
	i.alloc, i.rule, i.setUp = mod.ExportedFunction("alloc"), mod.ExportedFunction("rule"), mod.ExportedFunction("configure")
	return i, nil
}

// checkModule says what a module lacks, or has too much of, for the ABI.
func checkModule(c wazero.CompiledModule) error {
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != wasi_snapshot_preview1.ModuleName {
			return fmt.Errorf("the module imports the function %s.%s: a rule may import nothing but %s",
				module, name, wasi_snapshot_preview1.ModuleName)
		}
	}
	for _, mem := range c.ImportedMemories() {
		module, name, _ := mem.Import()
		return fmt.Errorf("the module imports the memory %s.%s: a rule brings its own and exports it as memory", module, name)
	}
	if _, ok := c.ExportedMemories()["memory"]; !ok {
		return errors.New("the module exports no memory named memory; docs/rule-abi.md says what a rule exports")
	}
	const i32, i64 = api.ValueTypeI32, api.ValueTypeI64
	for _, want := range []struct {
		name            string
		params, results []api.ValueType
		optional        bool
		text            string
	}{
		{name: "alloc", params: []api.ValueType{i32}, results: []api.ValueType{i32}, text: "alloc(i32) -> i32"},
		{name: "rule", results: []api.ValueType{i64}, text: "rule() -> i64"},
		{name: "configure", results: []api.ValueType{i64}, text: "configure() -> i64", optional: true},
		{name: "_initialize", text: "_initialize()", optional: true},
	} {
		f, ok := c.ExportedFunctions()[want.name]
		if !ok && want.optional {
			continue
		}
		if !ok {
			return fmt.Errorf("the module exports no function %s; docs/rule-abi.md says what a rule exports", want.text)
		}
		if !bytes.Equal(f.ParamTypes(), want.params) || !bytes.Equal(f.ResultTypes(), want.results) {
			return fmt.Errorf("the module's export %s has another signature than %s", want.name, want.text)
		}
	}
	return nil
}

// boundedLog keeps the first maxLog bytes that a guest wrote in one call.
type boundedLog struct{ b []byte }

func (l *boundedLog) Write(p []byte) (int, error) {
	l.b = append(l.b, p[:min(len(p), maxLog-len(l.b))]...)
	return len(p), nil
}

func (l *boundedLog) tail() string {
	if len(l.b) == 0 {
		return ""
	}
	return fmt.Sprintf("; it wrote %q", strings.TrimSpace(string(l.b)))
}

// readable says in words of a rule's author what wazero found.
func readable(err error) error {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		switch exit.ExitCode() {
		case sys.ExitCodeDeadlineExceeded:
			return errTooLong
		case sys.ExitCodeContextCanceled:
			return context.Canceled
		}
		return fmt.Errorf("the rule ended itself with exit code %d", exit.ExitCode())
	}
	text, _, _ := strings.Cut(err.Error(), "\nwasm stack trace:")
	return errors.New(strings.TrimSpace(text))
}
