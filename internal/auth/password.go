package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// Argon2id's cost. OWASP's Password Storage Cheat Sheet asks for 19 MiB and
// two passes at least; logins are rare here, so they may cost more.
const (
	memoryKiB = 32 << 10
	passes    = 3
	lanes     = 1

	saltSize, sumSize = 16, 32 // bytes; RFC 9106, 3.1
)

// Bounds of what a stored hash may ask for, so that a damaged one can't take
// the machine down.
const (
	maxMemoryKiB = 256 << 10
	maxPasses    = 16
	maxLanes     = 16
	maxSize      = 64 // bytes, of salt and of sum
)

// Bounds of a password, bytes. The longest is far from what anyone types, and
// keeps the hash's input small.
const (
	MinPassword = 10
	MaxPassword = 256
)

const (
	maxHashing = 2  // passwords hashed at a time: their memory is all that a flood of logins gets
	maxWaiting = 64 // more are turned away
)

var (
	hashing = make(chan struct{}, maxHashing)
	waiting atomic.Int64
)

// Errors of passwords. They come wrapped.
var (
	// ErrBusy means that too many passwords are being checked now.
	ErrBusy = errors.New("too many logins at a time: try again in a moment")
	// ErrPassword means that a password can't be anybody's.
	ErrPassword = fmt.Errorf("a password has %d to %d bytes", MinPassword, MaxPassword)
)

// Hash is the password's Argon2id hash with its salt and its cost, as a PHC
// string. The error is ErrPassword or ctx's.
func Hash(ctx context.Context, password string) (string, error) {
	if n := len(password); n < MinPassword || n > MaxPassword {
		return "", fmt.Errorf("hash a password of %d bytes: %w", n, ErrPassword)
	}
	h := phc{memory: memoryKiB, passes: passes, lanes: lanes, salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	_, _ = rand.Read(h.salt) // never fails, see crypto/rand
	sum, err := h.of(ctx, password)
	if err != nil {
		return "", err
	}
	h.sum = sum
	return h.String(), nil
}

// Verify reports whether the password is the one that was hashed, and whether
// its hash is of another cost than Hash's, so that the caller may renew it. The
// empty hash is nobody's: it costs as much time as a wrong password. The error
// is ErrBusy, ctx's, or tells what is wrong with the hash.
func Verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	h := phc{memory: memoryKiB, passes: passes, lanes: lanes, salt: make([]byte, saltSize), sum: make([]byte, sumSize)}
	if hash != "" {
		if h, err = parsePHC(hash); err != nil {
			return false, false, fmt.Errorf("read the password's hash: %w", err)
		}
	}
	known := hash != "" && len(password) <= MaxPassword
	if len(password) > MaxPassword {
		password = password[:MaxPassword]
	}
	sum, err := h.of(ctx, password)
	if err != nil {
		return false, false, err
	}
	ok = subtle.ConstantTimeCompare(sum, h.sum) == 1 && known
	return ok, ok && (h.memory != memoryKiB || h.passes != passes || h.lanes != lanes), nil
}

// phc is a hash with all that made it.
type phc struct {
	memory    uint32 // KiB
	passes    uint32
	lanes     uint8
	salt, sum []byte
}

// of hashes the password as h was, when its turn comes.
func (h *phc) of(ctx context.Context, password string) ([]byte, error) {
	if waiting.Add(1) > maxWaiting {
		waiting.Add(-1)
		return nil, fmt.Errorf("hash a password: %w", ErrBusy)
	}
	defer waiting.Add(-1)
	select {
	case hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to hash a password: %w", ctx.Err())
	}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum))), nil
}

var b64 = base64.RawStdEncoding.Strict()

// String is the form of the PHC string format, as every Argon2 writes it.
func (h *phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes, b64.EncodeToString(h.salt), b64.EncodeToString(h.sum))
}

// parsePHC reads what String wrote, and nothing else.
func parsePHC(text string) (phc, error) {
	var h phc
	fields := strings.Split(text, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" {
		return phc{}, errors.New("it is no argon2id hash")
	}
	if want := fmt.Sprintf("v=%d", argon2.Version); fields[2] != want {
		return phc{}, fmt.Errorf("its version is %q, want %s", fields[2], want)
	}
	if _, err := fmt.Sscanf(fields[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil {
		return phc{}, fmt.Errorf("its cost %q: %w", fields[3], err)
	}
	if h.memory < 8*uint32(h.lanes) || h.memory > maxMemoryKiB || h.passes < 1 || h.passes > maxPasses || h.lanes < 1 || h.lanes > maxLanes {
		return phc{}, fmt.Errorf("its cost %q is out of bounds", fields[3])
	}
	var err, err2 error
	h.salt, err = b64.DecodeString(fields[4])
	h.sum, err2 = b64.DecodeString(fields[5])
	if err := errors.Join(err, err2); err != nil {
		return phc{}, err
	}
	if len(h.salt) < 8 || len(h.salt) > maxSize || len(h.sum) < sumSize || len(h.sum) > maxSize {
		return phc{}, fmt.Errorf("its salt has %d bytes and its sum %d", len(h.salt), len(h.sum))
	}
	if h.String() != text {
		return phc{}, fmt.Errorf("its cost %q isn't written as it should", fields[3])
	}
	return h, nil
}
