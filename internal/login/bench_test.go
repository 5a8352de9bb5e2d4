package login

import (
	"fmt"
	"testing"

	"golang.org/x/crypto/bcrypt"
	"k8s.io/utils/clock"
)

// BenchmarkCheck shows side by side what a check takes for users who are there and who are not. The times must be
// alike.
func BenchmarkCheck(b *testing.B) {
	file := ""
	for cost := 8; cost <= 10; cost++ {
		hash, err := bcrypt.GenerateFromPassword([]byte("right"), cost)
		if err != nil {
			b.Fatal(err)
		}
		file += fmt.Sprintf("cost%d:%s\n", cost, hash)
	}
	among, err := parseUsers([]byte(file))
	if err != nil {
		b.Fatal(err)
	}
	c := newComparisons(clock.RealClock{})
	for _, check := range []struct{ user, password string }{
		{"cost10", "right"}, {"cost10", "wrong"}, {"cost8", "right"}, {"cost8", "wrong"}, {"nobody", "wrong"},
	} {
		b.Run(check.user+"/"+check.password, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.matches(b.Context(), among, check.user, []byte(check.password)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseUsers is what the largest file costs, once in two seconds.
func BenchmarkParseUsers(b *testing.B) {
	file := ""
	for i := range maxUsers {
		file += fmt.Sprintf("user-%d:%s\n", i, hash4)
	}
	document := []byte(file)
	b.SetBytes(int64(len(document)))
	for b.Loop() {
		if _, err := parseUsers(document); err != nil {
			b.Fatal(err)
		}
	}
}
