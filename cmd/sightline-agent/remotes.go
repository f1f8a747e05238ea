package main

import (
	"encoding/json"
	"sync"

	"github.com/sightline-edge/sightline/agent"
)

// remotes are the models on other machines, each one for all who have the same settings:
// what is known of a server outlasts a changeover or a swap, and it is asked no more than
// its users need. It is safe for concurrent use; its zero value has none.
type remotes struct {
	mu    sync.Mutex // protects all below
	known map[string]*hiredRemote
}

type hiredRemote struct {
	*agent.Remote
	users int
}

// hire gives the model with those settings; leave brings it back.
func (r *remotes) hire(cfg agent.RemoteConfig) (*agent.Remote, error) {
	key, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.known[string(key)]
	if h == nil {
		n, err := agent.NewRemote(cfg)
		if err != nil {
			return nil, err
		}
		if r.known == nil {
			r.known = map[string]*hiredRemote{}
		}
		h = &hiredRemote{Remote: n}
		r.known[string(key)] = h
	}
	h.users++
	return h.Remote, nil
}

// leave gives a model back. One that nobody has any more is forgotten.
func (r *remotes) leave(m *agent.Remote) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, h := range r.known {
		if h.Remote != m {
			continue
		}
		if h.users--; h.users == 0 {
			delete(r.known, key)
			m.Close()
		}
	}
}
