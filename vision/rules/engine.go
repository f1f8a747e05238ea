// Package rules turns a part and its evidence into a verdict by a small
// WebAssembly module, run by wazero. A rule sees nothing but the part: no
// file, no network, no real clock. It has a memory and a time limit, and a
// rule that breaks one, traps or answers nonsense costs its part the verdict
// (NONE, rule_failed) and nobody else anything. docs/rule-abi.md is the
// contract with the module, package guest its Go side.
package rules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Defaults and limits of an Engine.
const (
	DefaultTimeLimit = 50 * time.Millisecond // of one decision
	startLimit       = 10 * time.Second      // of making an instance, Go's runtime in it started
	memoryPages      = 1024                  // of 64 KiB: 64 MiB an instance
	maxModule        = 64 << 20              // bytes of a module's file
)

// Config of an Engine. The zero value works.
type Config struct {
	CacheDir  string        // where compiled modules are kept; "" compiles anew at each start
	TimeLimit time.Duration // of one decision; 0 is DefaultTimeLimit
}

// Engine compiles rules and runs them. It is safe for concurrent use.
type Engine struct {
	cfg     Config
	limit   time.Duration
	runtime wazero.Runtime
	cache   wazero.CompilationCache // nil without one

	sharing sync.Mutex // protects shared and its modules' users; held while one is compiled
	shared  map[[sha256.Size]byte]*Module

	mu       sync.Mutex // protects what follows
	plain    wazero.Runtime
	cacheErr error
}

// NewEngine makes an engine. A cache folder that can't be used is no error:
// modules are then compiled anew, and CacheError says why.
func NewEngine(ctx context.Context, cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg, limit: cfg.TimeLimit, shared: map[[sha256.Size]byte]*Module{}}
	if e.limit <= 0 {
		e.limit = DefaultTimeLimit
	}
	if cfg.CacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(cfg.CacheDir)
		if err != nil {
			e.cacheErr = fmt.Errorf("keep compiled rules in %s: %w", cfg.CacheDir, err)
		} else {
			e.cache = cache
		}
	}
	rt, err := newRuntime(ctx, e.cache)
	if err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	e.runtime = rt
	return e, nil
}

func newRuntime(ctx context.Context, cache wazero.CompilationCache) (wazero.Runtime, error) {
	cfg := wazero.NewRuntimeConfig().WithCloseOnContextDone(true).WithMemoryLimitPages(memoryPages)
	if cache != nil {
		cfg = cfg.WithCompilationCache(cache)
	}
	rt := wazero.NewRuntimeWithConfig(ctx, cfg)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, rt); err != nil {
		return nil, errors.Join(fmt.Errorf("start the rules' runtime: %w", err), rt.Close(ctx))
	}
	return rt, nil
}

// Close ends the engine and everything made from it. A decision under way
// fails as a broken rule's does.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for _, rt := range []wazero.Runtime{e.runtime, e.plain} {
		if rt != nil {
			errs = append(errs, rt.Close(ctx))
		}
	}
	if e.cache != nil {
		errs = append(errs, e.cache.Close(ctx))
	}
	return errors.Join(errs...)
}

// CacheError says why compiled modules can't be kept; nil if they can.
func (e *Engine) CacheError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cacheErr
}

// Load makes the rule that the specification names: the standard one, or the
// module in its file. Rules of the same module share its code and instances.
func (e *Engine) Load(ctx context.Context, s Spec) (*Rule, error) {
	wasm, err := s.read()
	if err != nil {
		return nil, err
	}
	m, err := e.share(ctx, s.Module, wasm)
	if err != nil {
		return nil, err
	}
	r, err := m.Rule(ctx, s.Params)
	if err != nil {
		return nil, errors.Join(err, e.leave(ctx, m))
	}
	r.name, r.engine = s.String(), e
	return r, nil
}

// Compile makes a module of WebAssembly bytes. The name stands in errors. It
// refuses modules that import anything but WASI, or lack an export of the
// ABI, and says which.
func (e *Engine) Compile(ctx context.Context, name string, wasm []byte) (*Module, error) {
	if len(wasm) > maxModule {
		return nil, fmt.Errorf("rule %s: the module has %d bytes, at most %d will do", name, len(wasm), maxModule)
	}
	limited, err := limitTables(wasm)
	if err != nil {
		return nil, fmt.Errorf("rule %s: %w", name, err)
	}
	rt, compiled, err := e.compile(ctx, limited)
	if err != nil {
		return nil, fmt.Errorf("rule %s: compile the WebAssembly module: %w", name, err)
	}
	if err := checkModule(compiled); err != nil {
		return nil, errors.Join(fmt.Errorf("rule %s: %w", name, err), compiled.Close(ctx))
	}
	sum := sha256.Sum256(wasm)
	return &Module{
		name: name, digest: hex.EncodeToString(sum[:]), limit: e.limit,
		runtime: rt, compiled: compiled, keep: runtime.GOMAXPROCS(0),
	}, nil
}

// compile falls back to a runtime without the cache if the cached way fails
// and the module isn't to blame: a cache that is full or damaged must not
// stop the line. A damaged one is emptied for the next start.
func (e *Engine) compile(ctx context.Context, wasm []byte) (wazero.Runtime, wazero.CompiledModule, error) {
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	compiled, err := e.runtime.CompileModule(ctx, wasm)
	if err == nil || e.cache == nil {
		return e.runtime, compiled, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.plain == nil {
		rt, err := newRuntime(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		e.plain = rt
	}
	compiled, plainErr := e.plain.CompileModule(ctx, wasm)
	if plainErr != nil {
		return nil, nil, plainErr
	}
	e.cacheErr = fmt.Errorf("use compiled rules kept in %s: %w", e.cfg.CacheDir, err)
	if strings.Contains(err.Error(), "compilationcache") {
		e.cacheErr = errors.Join(e.cacheErr, emptyCache(e.cfg.CacheDir))
	}
	return e.plain, compiled, nil
}

// emptyCache removes the folders that wazero makes, one per version.
func emptyCache(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "wazero-*"))
	if err != nil {
		return err
	}
	for _, d := range found {
		files, err := filepath.Glob(filepath.Join(d, "*"))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return fmt.Errorf("empty the damaged cache of compiled rules: %w", err)
			}
		}
	}
	return nil
}
