package trust

import (
	"errors"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Code names why metadata was refused, mostly by the attack that it would have
// been. It is a word for programs; reports and pages show it as it is.
type Code string

// The codes.
const (
	Rollback       Code = "rollback"        // older than what was seen
	Freeze         Code = "freeze"          // the timestamp has expired
	MixAndMatch    Code = "mix_and_match"   // rightly signed, but not of one moment
	EndlessData    Code = "endless_data"    // longer than it may be
	WrongHash      Code = "wrong_hash"      // not what signed metadata states
	WrongLength    Code = "wrong_length"    // shorter than signed metadata states
	Expired        Code = "expired"         // root, snapshot or targets has expired
	Threshold      Code = "threshold"       // signed by too few keys
	UnknownKey     Code = "unknown_key"     // signed only by keys that have no say here
	BadSignature   Code = "signature"       // a signature doesn't match the content
	DelegationPath Code = "delegation_path" // a role names a target that wasn't delegated to it
	Format         Code = "format"          // no metadata, or not of this kind
	Absent         Code = "missing"         // a file that signed metadata names isn't there
	NotFound       Code = "not_found"       // no role names the target
	TooMany        Code = "too_many"        // a search visited MaxDelegations roles
)

// Refusal is why a file isn't believed.
type Refusal struct {
	Code Code
	File string // as it was fetched, or the path of a target
	Err  error  // in words
}

// Error says which file was refused, and why.
func (r *Refusal) Error() string {
	return fmt.Sprintf("refuse %s (%s): %v", r.File, r.Code, r.Err)
}

// Unwrap gives the reason in words.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(c Code, file string, err error) *Refusal { return &Refusal{c, file, err} }

// CodeOf is the code of the refusal in an error, or "".
func CodeOf(err error) Code {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// explain turns go-tuf's error on a file of the right shape into a refusal.
func (s *Session) explain(name string, data []byte, role string, err error) *Refusal {
	h, headErr := headOf(data)
	if headErr != nil {
		return refuse(Format, name, headErr)
	}
	v := h.Signed.Version
	switch {
	case as[*metadata.ErrUnsignedMetadata](err):
		return s.unsigned(name, role, h)
	case as[*metadata.ErrExpiredMetadata](err) && role == metadata.TIMESTAMP:
		return refuse(Freeze, name, errors.Unwrap(s.frozen()))
	case as[*metadata.ErrExpiredMetadata](err):
		return refuse(Expired, name, ended(h.Signed.Expires, s.meta.RefTime, "the fleet must sign a new one"))
	case as[*metadata.ErrBadVersionNumber](err):
		return s.badVersion(name, role, v, err)
	case as[*metadata.ErrLengthOrHashMismatch](err):
		return refuse(WrongHash, name, err)
	case role == metadata.SNAPSHOT && as[*metadata.ErrRepository](err):
		return refuse(Rollback, name, fmt.Errorf("it names a role no longer that it named before: %w", err))
	case role != metadata.SNAPSHOT && as[*metadata.ErrRepository](err):
		return refuse(Absent, name, err)
	}
	return refuse(Format, name, err)
}

func (s *Session) badVersion(name, role string, v int64, err error) *Refusal {
	switch role {
	case metadata.ROOT:
		if want := s.meta.Root.Signed.Version + 1; v > want {
			return refuse(MixAndMatch, name, fmt.Errorf("it is version %d, %d is expected", v, want))
		}
		return refuse(Rollback, name, fmt.Errorf("it is version %d, and version %d was seen", v, s.meta.Root.Signed.Version))
	case metadata.TIMESTAMP:
		if seen := s.meta.Timestamp.Signed.Version; v < seen {
			return refuse(Rollback, name, fmt.Errorf("it is version %d, and version %d was seen", v, seen))
		}
		return refuse(Rollback, name, fmt.Errorf("the snapshot that it names is older than the one seen: %w", err))
	case metadata.SNAPSHOT:
		if want := s.meta.Timestamp.Signed.Meta[SnapshotFile].Version; v != want {
			return refuse(MixAndMatch, name, fmt.Errorf("it is version %d, the timestamp names %d", v, want))
		}
		return refuse(Rollback, name, fmt.Errorf("it names an older version of a file than was seen: %w", err))
	}
	return refuse(MixAndMatch, name, fmt.Errorf("it is version %d, and not the one that the snapshot names: %w", v, err))
}

// unsigned says what is wrong with the signatures.
func (s *Session) unsigned(name, role string, h *head) *Refusal {
	keys, threshold := s.keysOf(role, h)
	known := 0
	for _, sig := range h.Signatures {
		if sig.Sig != "" && slices.Contains(keys, sig.KeyID) {
			known++
		}
	}
	switch {
	case known == 0:
		return refuse(UnknownKey, name, fmt.Errorf("none of its %d signatures is by a key of the role %s", len(h.Signatures), role))
	case known < threshold:
		return refuse(Threshold, name, fmt.Errorf("it is signed by %d keys of the role %s, %d are needed", known, role, threshold))
	}
	return refuse(BadSignature, name, fmt.Errorf("a signature doesn't match: it was changed after it was signed, or a root's new keys haven't signed it"))
}

// keysOf is who may sign a role: by the trusted root, by the role that
// delegates to it, or, of the very first root, by itself.
func (s *Session) keysOf(role string, h *head) (ids []string, threshold int) {
	if s.search != nil && role == s.search.now.role {
		d := s.meta.Targets[s.search.now.parent].Signed.Delegations
		for _, r := range d.Roles {
			if r.Name == role {
				return r.KeyIDs, r.Threshold
			}
		}
		if d.SuccinctRoles != nil {
			return d.SuccinctRoles.KeyIDs, d.SuccinctRoles.Threshold
		}
	}
	if s.meta == nil {
		r := h.Signed.Roles[role]
		return r.KeyIDs, r.Threshold
	}
	if r := s.meta.Root.Signed.Roles[role]; r != nil {
		return r.KeyIDs, r.Threshold
	}
	return nil, 0
}

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
