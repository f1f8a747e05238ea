package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// What the secrets begin with, so that people and scanners of leaked secrets
// know them.
const (
	SessionPrefix = "sls_" // a login on the pages
	TokenPrefix   = "slt_" // a program's
)

const secretSize = 32 // bytes of chance

// NewSecret is 256 bits of chance behind the prefix, in letters that need no
// escaping in a URL or a header.
func NewSecret(prefix string) string {
	var b [secretSize]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// IsSecret reports whether the text could be a secret of that prefix: it keeps
// junk from the database.
func IsSecret(prefix, text string) bool {
	rest, ok := strings.CutPrefix(text, prefix)
	b, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	return ok && err == nil && len(b) == secretSize
}

// KeyOf is what is kept of a secret: its SHA-256. A secret has enough chance
// in it to need no slower hash, and looking up the key tells nothing by its
// time.
func KeyOf(secret string) [sha256.Size]byte { return sha256.Sum256([]byte(secret)) }

// letters of passwords: none looks like another.
const letters = "abcdefghjkmnpqrstuvwxyz23456789"

// NewPassword is a password for a person to read and type once: three groups of
// six letters, 89 bits.
func NewPassword() string {
	const groups, size = 3, 6
	var b strings.Builder
	for i := range groups * size {
		if i > 0 && i%size == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[chance(len(letters))])
	}
	return b.String()
}

// chance is a number below n, each as likely; n is at most 256.
func chance(n int) int {
	for {
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails, see crypto/rand
		if int(b[0]) < 256-256%n {
			return int(b[0]) % n
		}
	}
}
