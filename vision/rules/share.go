package rules

import (
	"context"
	"crypto/sha256"
	"errors"
)

// share gives the module of those bytes, which all rules made from it have in
// common; leave gives it back. Two compilations of the same bytes would share
// code in wazero, which is freed when one of them is closed, also while the
// other one is being made.
func (e *Engine) share(ctx context.Context, name string, wasm []byte) (*Module, error) {
	e.sharing.Lock()
	defer e.sharing.Unlock()
	key := sha256.Sum256(wasm)
	if m := e.shared[key]; m != nil {
		m.users++
		return m, nil
	}
	m, err := e.Compile(ctx, name, wasm)
	if err != nil {
		return nil, err
	}
	m.users = 1
	e.shared[key] = m
	return m, nil
}

// leave closes a shared module with its last rule.
func (e *Engine) leave(ctx context.Context, m *Module) error {
	e.sharing.Lock()
	defer e.sharing.Unlock()
	if m.users--; m.users > 0 {
		return nil
	}
	for key, shared := range e.shared {
		if shared == m {
			delete(e.shared, key)
		}
	}
	return m.Close(ctx)
}

// Close frees what Engine.Load made for the rule, once no other rule has the
// same module. It must not decide any more; its name, digest and counts stay.
func (r *Rule) Close(ctx context.Context) error {
	if r.engine == nil {
		return errors.New("close a rule: its module is its maker's to close")
	}
	e := r.engine
	r.engine = nil
	return e.leave(ctx, r.module)
}
