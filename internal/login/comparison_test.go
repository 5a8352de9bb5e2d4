package login

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestWorkDoesNotTellWhoTheUsersAre counts rounds of bcrypt, because times differ for other reasons too.
func TestWorkDoesNotTellWhoTheUsersAre(t *testing.T) {
	tests := map[string]struct {
		file string
		// want is the number of rounds of every check.
		want int
	}{
		"users of one cost":      {file: lines("alice:"+hash6, "bob:"+hash6), want: 1 << 6},
		"users of several costs": {file: lines("alice:"+hash4, "bob:"+hash5, "carol:"+hash6), want: 1 << 6},
		"costs far apart":        {file: lines("alice:"+hash4, "bob:"+hash16), want: 1 << 16},
		"an unusable hash":       {file: lines("alice:locked", "bob:"+hash5), want: 1 << 5},
		"nobody":                 {file: "", want: 1 << 10},
	}
	for name, test := range tests {
		for _, user := range []string{"alice", "bob", "carol", "nobody"} {
			for _, right := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/%t", name, user, right), func(t *testing.T) {
					among, err := parseUsers([]byte(test.file))
					if err != nil {
						t.Fatal(err)
					}
					rounds := 0
					c := newComparisons(clocktesting.NewFakeClock(time.Now()))
					c.compare = func(hash, password []byte) error {
						cost, usable := costOf(string(hash))
						if !usable || string(password) != "password" {
							t.Errorf("comparing %q with %q", hash, password)
						}
						rounds += 1 << cost
						if right {
							return nil
						}
						return bcrypt.ErrMismatchedHashAndPassword
					}
					equal, err := c.matches(t.Context(), among, user, []byte("password"))
					if err != nil {
						t.Fatal(err)
					}
					if rounds != test.want {
						t.Errorf("%d rounds, want %d", rounds, test.want)
					}
					if _, known := among.hashes[user]; equal != (known && right) {
						t.Errorf("equal = %t for a known user %t with the right password %t", equal, known, right)
					}
				})
			}
		}
	}
}

// TestDecoyIsComparedInFull makes sure that the library does not find fault with a decoy before it does the work.
func TestDecoyIsComparedInFull(t *testing.T) {
	for cost := bcrypt.MinCost; cost <= maxCost; cost++ {
		if found, usable := costOf(string(decoy(cost))); !usable || found != cost {
			t.Errorf("the decoy of cost %d is of cost %d, usable %t", cost, found, usable)
		}
	}
	err := bcrypt.CompareHashAndPassword(decoy(bcrypt.MinCost), []byte("password"))
	if !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("comparing with a decoy: %v, want a mismatch", err)
	}
}

// TestComparisonUses72Bytes: bcrypt cannot use more, and what Apache's htpasswd makes of a longer password must match
// it.
func TestComparisonUses72Bytes(t *testing.T) {
	password := strings.Repeat("0123456789", 8)
	hash, err := bcrypt.GenerateFromPassword([]byte(password[:72]), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	among, err := parseUsers(fmt.Appendf(nil, "alice:%s", hash))
	if err != nil {
		t.Fatal(err)
	}
	c := newComparisons(clocktesting.NewFakeClock(time.Now()))
	for _, test := range []struct {
		password string
		want     bool
	}{{password, true}, {password[:72], true}, {password[:71], false}, {password[:71] + "x" + password[72:], false}} {
		if equal, err := c.matches(t.Context(), among, "alice", []byte(test.password)); err != nil || equal != test.want {
			t.Errorf("%d bytes: equal = %t, error %v; want %t", len(test.password), equal, err, test.want)
		}
	}
}

// TestComparisonsWaitTheirTurn has every processor busy with a comparison that does not end before it is told to.
func TestComparisonsWaitTheirTurn(t *testing.T) {
	tests := map[string]struct {
		// during happens while a further check waits.
		during func(clk *clocktesting.FakeClock, cancel context.CancelFunc, finish chan struct{})
		want   error
	}{
		"one ends": {
			during: func(_ *clocktesting.FakeClock, _ context.CancelFunc, finish chan struct{}) { finish <- struct{}{} },
		},
		"none ends within a second": {
			during: func(clk *clocktesting.FakeClock, _ context.CancelFunc, _ chan struct{}) { clk.Step(maxWait) },
			want:   ErrBusy,
		},
		"the request ends": {
			during: func(_ *clocktesting.FakeClock, cancel context.CancelFunc, _ chan struct{}) { cancel() },
			want:   ErrUnavailable,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			clk := clocktesting.NewFakeClock(time.Now())
			c := newComparisons(clk)
			begun, finish := make(chan struct{}), make(chan struct{})
			c.compare = func(_, password []byte) error {
				if string(password) == "slow" {
					begun <- struct{}{}
					<-finish
				}
				return nil
			}
			among, err := parseUsers([]byte("alice:" + hash4))
			if err != nil {
				t.Fatal(err)
			}
			processors := runtime.GOMAXPROCS(0)
			ended := make(chan error, processors)
			for range processors {
				go func() {
					_, err := c.matches(context.Background(), among, "alice", []byte("slow"))
					ended <- err
				}()
				<-begun
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			further := make(chan error, 1)
			go func() {
				_, err := c.matches(ctx, among, "alice", []byte("fast"))
				further <- err
			}()
			eventually(t, "the further check to wait", clk.HasWaiters)
			test.during(clk, cancel, finish)
			if err := <-further; !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			close(finish)
			for range processors {
				if err := <-ended; err != nil {
					t.Errorf("a check that had its turn: %v", err)
				}
			}
			if taken := len(c.turns.taken); taken != 0 {
				t.Errorf("%d turns are still taken", taken)
			}
		})
	}
}
