package trust

import (
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// search is the walk over delegations for one target: in pre-order, depth
// first.
type search struct {
	path    string
	todo    []delegation // the last one is next
	visited map[string]bool
	found   *Target

	now delegation // being loaded
}

// A delegation is a role, by the name of the role that leads to it.
type delegation struct{ role, parent string }

// Find starts a search for a target after the refresh. Next and Got go on as
// before; when Next is done, Found has the answer. An error is a *Refusal.
func (s *Session) Find(path string) error {
	if !s.Refreshed() || s.stage == delegated {
		return fmt.Errorf("look for %s: the metadata isn't refreshed", path)
	}
	s.search = &search{path: path, visited: map[string]bool{metadata.TARGETS: true}}
	s.look(metadata.TARGETS)
	return s.descend()
}

// Found is the target of the last Find, once Next is done: a *Refusal with the
// code NotFound or DelegationPath where no role that may names it.
func (s *Session) Found() (*Target, error) {
	switch {
	case s.err != nil:
		return nil, s.err
	case s.search == nil || s.stage != ready:
		return nil, fmt.Errorf("look for a target: the search isn't done")
	case s.search.found != nil:
		return s.search.found, nil
	}
	path := s.search.path
	if len(s.search.todo) > 0 {
		return nil, refuse(TooMany, path, fmt.Errorf("the search visited %d roles and wasn't done", MaxDelegations))
	}
	for role, t := range s.meta.Targets {
		if t.Signed.Targets[path] != nil {
			return nil, refuse(DelegationPath, path, fmt.Errorf("the role %s names it, and has no say on this path", role))
		}
	}
	return nil, refuse(NotFound, path, fmt.Errorf("no role names it: was it published, or has it been taken back?"))
}

// look takes the target from a loaded role, or puts down whom it delegates to.
func (s *Session) look(role string) {
	t := s.meta.Targets[role]
	q := s.search
	if f := t.Signed.Targets[q.path]; f != nil {
		q.found, q.todo = newTarget(q.path, f), nil
		return
	}
	if t.Signed.Delegations == nil {
		return
	}
	var next []delegation
	for _, r := range t.Signed.Delegations.GetRolesForTarget(q.path) {
		next = append(next, delegation{r.Name, role})
		if r.Terminating {
			q.todo = nil
			break
		}
	}
	slices.Reverse(next)
	q.todo = append(q.todo, next...)
}

// descend visits roles until one must be fetched or the search is done. A role
// is verified against whoever leads to it now: that it was good for another
// delegator says nothing.
func (s *Session) descend() error {
	q := s.search
	for q.found == nil && len(q.todo) > 0 && len(q.visited) <= MaxDelegations {
		d := q.todo[len(q.todo)-1]
		q.todo = q.todo[:len(q.todo)-1]
		if q.visited[d.role] {
			continue
		}
		q.visited[d.role] = true
		q.now = d
		name := FileName(d.role)
		if err := roleName(d.role); err != nil {
			return s.end(refuse(Format, name, err))
		}
		m := s.meta.Snapshot.Signed.Meta[d.role+".json"]
		if m == nil {
			return s.end(refuse(Absent, name, fmt.Errorf("the snapshot doesn't name it, so its version can't be known")))
		}
		if data := s.roles[d.role]; data != nil { // of this session: a fault in it is final
			if err := s.accept(data); err != nil {
				return s.end(err)
			}
			continue
		}
		if local := s.local[name]; local != nil && shape(local, metadata.TARGETS) == nil && s.accept(local) == nil {
			s.roles[d.role] = local
			continue
		}
		s.stage, s.want = delegated, s.wants(d.role, m, MaxTargets)
		return nil
	}
	s.stage, q.now = ready, delegation{}
	return nil
}

// accept verifies a role's file against its delegator and looks into it.
func (s *Session) accept(data []byte) error {
	d := s.search.now
	if _, err := s.meta.UpdateDelegatedTargets(data, d.role, d.parent); err != nil {
		return s.explain(FileName(d.role), data, d.role, err)
	}
	s.look(d.role)
	return nil
}

func (s *Session) gotDelegated(data []byte) error {
	d := s.search.now
	if err := s.promised(data, d.role, s.meta.Snapshot.Signed.Meta[d.role+".json"], s.meta.Targets[d.parent]); err != nil {
		return err
	}
	if err := s.accept(data); err != nil {
		return err
	}
	s.roles[d.role] = data
	s.keep(FileName(d.role), data)
	return s.descend()
}
