package login

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// Hashes by cost. Nobody knows the passwords.
const (
	hash4  = "$2y$04$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
	hash5  = "$2a$05$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
	hash6  = "$2b$06$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
	hash16 = "$2y$16$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
	hash17 = "$2y$17$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
	hash3  = "$2y$03$Dsw2gvcOQFLgbyqNcHsOcOJWgTaJ8TCDXnxYpc6MQKiUTYhLBdkLG"
)

func TestParseUsers(t *testing.T) {
	tests := map[string]struct {
		file string
		// want are the users who can log in, with the costs of their hashes.
		want map[string]int
		// cost is that of the checks.
		cost int
	}{
		"nobody":   {file: "", cost: 10},
		"one user": {file: "alice:" + hash4, want: map[string]int{"alice": 4}, cost: 4},
		"every version of bcrypt": {
			file: lines("a:"+hash4, "b:"+hash5, "c:"+hash6), want: map[string]int{"a": 4, "b": 5, "c": 6}, cost: 6,
		},
		"lines of Windows": {
			file: "a:" + hash4 + "\r\nb:" + hash5 + "\r\n", want: map[string]int{"a": 4, "b": 5}, cost: 5,
		},
		"comments and empty lines": {
			file: lines("# a:"+hash6, "", "  ", "#b:"+hash6, "c:"+hash4), want: map[string]int{"c": 4}, cost: 4,
		},
		"a third column is ignored": {file: "a:" + hash4 + ":Alice, sales", want: map[string]int{"a": 4}, cost: 4},
		"names are case-sensitive": {
			file: lines("a:"+hash4, "A:"+hash5), want: map[string]int{"a": 4, "A": 5}, cost: 5,
		},
		"a name beyond ASCII":             {file: "Zoë:" + hash4, want: map[string]int{"Zoë": 4}, cost: 4},
		"the first line of a user counts": {file: lines("a:"+hash4, "a:"+hash6), want: map[string]int{"a": 4}, cost: 4},
		"also when it is unusable": {
			file: lines("a:locked", "a:"+hash6, "b:"+hash4), want: map[string]int{"b": 4}, cost: 4,
		},
		"the highest cost that is allowed": {
			file: "a:" + hash16, want: map[string]int{"a": 16}, cost: 16,
		},
		"costs out of bounds, which do not make others slow": {
			file: lines("a:"+hash17, "b:"+hash3, "c:"+hash4), want: map[string]int{"c": 4}, cost: 4,
		},
		"hashes of other forms": {
			file: lines("md5:$apr1$abcdefgh$0123456789012345678901", "sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
				"crypt:rl0xYmwuA1LEo",
				"plain:correct horse", "x:"+strings.Replace(hash4, "$2y", "$2x", 1), "short:"+hash4[:59], "long:"+hash4+"x",
				"locked:!"+hash4, "empty:", "bcrypt:"+hash5),
			want: map[string]int{"bcrypt": 5}, cost: 5,
		},
		"nobody who can log in": {file: "md5:$apr1$abcdefgh$0123456789012345678901", cost: 10},
		"broken lines": {
			file: lines("alone", ":"+hash6, "a\x00b:"+hash6, "\xff:"+hash6, strings.Repeat("n", 129)+":"+hash6, "a:"+hash4),
			want: map[string]int{"a": 4}, cost: 4,
		},
		"the longest name": {
			file: strings.Repeat("n", 128) + ":" + hash4, want: map[string]int{strings.Repeat("n", 128): 4}, cost: 4,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			read, err := parseUsers([]byte(test.file))
			if err != nil {
				t.Fatal(err)
			}
			costs := map[string]int{}
			for user, hash := range read.hashes {
				costs[user] = hash.cost
			}
			if !maps.Equal(costs, test.want) || read.cost != test.cost {
				t.Errorf("users %v at cost %d, want %v at %d", costs, read.cost, test.want, test.cost)
			}
		})
	}
}

func TestParseUsersIsBounded(t *testing.T) {
	var many strings.Builder
	for i := range maxUsers {
		fmt.Fprintf(&many, "%d:%s\n", i, hash4)
	}
	read, err := parseUsers([]byte(many.String()))
	if err != nil || len(read.hashes) != maxUsers {
		t.Fatalf("%d users: error %v, want all of them", maxUsers, err)
	}
	_, err = parseUsers([]byte(many.String() + "one more:" + hash4))
	if err == nil || !strings.Contains(err.Error(), "10000 users") {
		t.Errorf("one user too many: error %v, want one that says how many are allowed", err)
	}
	if _, err := parseUsers(bytes.Repeat([]byte("#"), maxUsersBytes)); err != nil {
		t.Errorf("the largest file: %v", err)
	}
	if _, err := parseUsers(bytes.Repeat([]byte("#"), maxUsersBytes+1)); err == nil {
		t.Error("a file that is too large was read")
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add([]byte(lines("alice:"+hash4, "bob:"+hash5+":Bob", "# nobody", "md5:$apr1$x$y")))
	f.Add([]byte("a:" + hash4 + "\r\n\na:\n:\n::"))
	f.Add([]byte("\xff\x00:$2y$99$"))
	f.Fuzz(func(t *testing.T, file []byte) {
		read, err := parseUsers(file)
		if err != nil {
			return
		}
		highest := 0
		for user, hash := range read.hashes {
			highest = max(highest, hash.cost)
			if !validUser(user) || hash.cost < 4 || hash.cost > maxCost {
				t.Errorf("user %q at cost %d is out of bounds", user, hash.cost)
			}
			if !bytes.Contains(file, slices.Concat([]byte(user), []byte(":"), hash.text)) {
				t.Errorf("the file has no line of user %q with this hash", user)
			}
		}
		if highest == 0 {
			highest = 10
		}
		if read.cost != highest {
			t.Errorf("checks are at cost %d, want %d", read.cost, highest)
		}
	})
}

func lines(all ...string) string { return strings.Join(all, "\n") + "\n" }
