package login

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	// maxUsersBytes is the size of the largest file of users: what a Secret can hold.
	maxUsersBytes = 1 << 20
	// maxUsers is how many lines with a user a file may have. More are a matter for an upstream issuer.
	maxUsers = 10_000
	// maxUserBytes bounds a user name. With the longest prefix it is a subject that a session can have.
	maxUserBytes = 128
	// maxCost is the highest cost of a bcrypt hash that is compared with: it takes seconds, and each step up doubles that.
	maxCost = 16
)

// users are the users of one file. It is immutable.
type users struct {
	// hashes has an entry for each user who can log in.
	hashes map[string]bcryptHash
	// cost is the highest among the hashes, and bcrypt's default where there is none. Every check does its work.
	cost int
}

// bcryptHash is a hash that can be compared with.
type bcryptHash struct {
	text []byte
	// cost says that a comparison takes 2^cost rounds.
	cost int
}

// bcryptForm is the form of a hash that is compared with: version, cost, 22 characters of salt, 31 of hash. $2x$ stands
// for hashes of a faulty implementation, which weakened passwords beyond ASCII; nothing makes them any more.
var bcryptForm = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// parseUsers reads lines of the form "user:hash", as Apache does: empty lines and those that begin with "#" are
// skipped, what follows a second colon is ignored, and the first line of a user counts. A line that is not understood,
// or has a hash that is not bcrypt or is too costly, makes no user. It does not make the file unusable: the others can
// log in.
func parseUsers(file []byte) (*users, error) {
	if len(file) > maxUsersBytes {
		return nil, fmt.Errorf("it has more than %d bytes: take users out", maxUsersBytes)
	}
	read := &users{hashes: map[string]bcryptHash{}}
	seen := map[string]bool{}
	for line := range bytes.Lines(file) {
		name, hash, found := parseUser(string(bytes.TrimSpace(line)))
		if !found || seen[name] {
			continue
		}
		if len(seen) == maxUsers {
			return nil, fmt.Errorf("it has more than %d users: take some out, or let an upstream issuer log them in", maxUsers)
		}
		seen[name] = true
		if cost, usable := costOf(hash); usable {
			read.hashes[name] = bcryptHash{text: []byte(hash), cost: cost}
			read.cost = max(read.cost, cost)
		}
	}
	if len(read.hashes) == 0 {
		read.cost = bcrypt.DefaultCost
	}
	return read, nil
}

func parseUser(line string) (name, hash string, found bool) {
	if strings.HasPrefix(line, "#") {
		return "", "", false
	}
	name, rest, found := strings.Cut(line, ":")
	if !found || !validUser(name) {
		return "", "", false
	}
	hash, _, _ = strings.Cut(rest, ":")
	return name, hash, true
}

// costOf returns the cost of a bcrypt hash, and whether it can be compared with.
func costOf(hash string) (cost int, usable bool) {
	parts := bcryptForm.FindStringSubmatch(hash)
	if parts == nil {
		return 0, false
	}
	cost, err := strconv.Atoi(parts[1])
	return cost, err == nil && cost >= bcrypt.MinCost && cost <= maxCost
}

// validUser reports whether a user can have this name: 1 to 128 bytes of printable text without a colon.
func validUser(name string) bool {
	if name == "" || len(name) > maxUserBytes || !utf8.ValidString(name) {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return r == ':' || !unicode.IsPrint(r) }) < 0
}
