package login

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/crypto/bcrypt"
	"k8s.io/utils/clock"
)

// comparisons compares passwords with hashes: no more at once than there are processors for them, because each occupies
// one for the tenth of a second or longer, and all other requests need some too.
type comparisons struct {
	compare func(hash, password []byte) error
	turns   *turns
}

func newComparisons(clk clock.Clock) *comparisons {
	return &comparisons{
		compare: bcrypt.CompareHashAndPassword,
		turns:   newTurns(clk, runtime.GOMAXPROCS(0)),
	}
}

// matches reports whether the password is the user's. It does the same work for every user, known or not, with a hash
// of whatever cost: 2^cost rounds for the highest cost in the file. So how long it takes tells nobody who the users
// are.
func (c *comparisons) matches(ctx context.Context, among *users, user string, password []byte) (bool, error) {
	if err := c.turns.take(ctx); err != nil {
		return false, fmt.Errorf("comparing a password: %w", err)
	}
	defer c.turns.give()
	hash, found := among.hashes[user]
	if !found {
		_ = c.compare(decoy(among.cost), password)
		return false, nil
	}
	equal := c.compare(hash.text, password) == nil
	// 2^cost rounds are done. 2^cost + 2^(cost+1) + ... + 2^(highest-1) more make 2^highest.
	for cost := hash.cost; cost < among.cost; cost++ {
		_ = c.compare(decoy(cost), password)
	}
	return equal, nil
}

// decoy is a hash that takes as long to compare with as any of its cost. What a comparison with it says is not used.
func decoy(cost int) []byte {
	return fmt.Appendf(nil, "$2y$%02d$Keyturn.has.no.such.user.but.takes.time.to.say.so.../", cost)
}
