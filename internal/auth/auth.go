// Package auth is who may do what on the pages and interfaces of device and
// fleet: roles, passwords, random secrets, sessions' cookies, and the back-off
// that guessing meets. It is a leaf and keeps nothing: its callers do.
package auth

import "fmt"

// Role is what a person or a program may do. The zero value may do nothing.
type Role uint8

// The roles; each may do what the ones before it may.
const (
	_        Role = iota
	Viewer        // look at everything
	Operator      // and act on devices
	Admin         // and decide who may do what
)

func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	case Admin:
		return "admin"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole reads what String wrote.
func ParseRole(text string) (Role, error) {
	for _, r := range []Role{Viewer, Operator, Admin} {
		if r.String() == text {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q is none of viewer, operator, admin", text)
}

// May reports whether the role includes another.
func (r Role) May(need Role) bool { return need != 0 && r >= need }
