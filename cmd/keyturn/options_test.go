package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestPrefixes(t *testing.T) {
	for value, want := range map[string]string{
		"10.0.0.0/8":             "[10.0.0.0/8]",
		" " + "10.1.2.3/8":       "[10.0.0.0/8]",
		"127.0.0.1":              "[127.0.0.1/32]",
		"fd00::/8":               "[fd00::/8]",
		"::1":                    "[::1/128]",
		"::ffff:10.0.0.0/104":    "never matches",
		"example.com":            "neither an address nor a CIDR",
		"10.0.0.0/33":            "neither an address nor a CIDR",
		"":                       "neither an address nor a CIDR",
		"0.0.0.0/0,10.0.0.0/8/8": "neither an address nor a CIDR",
	} {
		parsed, err := prefixes("trusted-proxies", []string{value})
		if err != nil {
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--trusted-proxies") {
				t.Errorf("%q: %v; want %q and the name of the flag", value, err, want)
			}
		} else if got := fmt.Sprint(parsed); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// TestMistakesOnTheCommandLine checks that a mistake ends the program with a sentence before it connects to anything.
func TestMistakesOnTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"--log-level=loud"}, "not one of debug, info and error"},
		{[]string{"--log-format=xml"}, "neither json nor console"},
		{[]string{"--trusted-proxies=everybody"}, "neither an address nor a CIDR"},
		{[]string{"--allow-internal-addresses=all"}, "neither an address nor a CIDR"},
		{[]string{"--leader-elect=false", "--audit-log=/no/such/folder/audit.log"}, "--audit-log: open /no/such/folder/audit.log: no such file"},
		{[]string{"--leader-election-lease-duration=10s"}, "--leader-election-renew-deadline: 10s is not less"},
		{nil, "--leader-election-namespace: finding the pod's own namespace"},
		{[]string{"--tls-secret=a", "--tls-cert-file=tls.crt"}, "set either the Secret or the files"},
		{[]string{"--tls-secret=a", "--tls-hosts=https://a"}, "--tls-hosts: the host"},
		{[]string{"--leader-elect=false", "--kubeconfig=/nowhere"}, "name a kubeconfig file with --kubeconfig"},
		{[]string{"serve"}, "unknown command"},
		{[]string{"--no-such-flag"}, "unknown flag"},
	} {
		t.Run(strings.Join(test.arguments, " "), func(t *testing.T) {
			root := command()
			root.SetArgs(test.arguments)
			root.SetOut(new(bytes.Buffer))
			root.SetErr(new(bytes.Buffer))
			if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestHelpNamesEveryFlagWithADescription(t *testing.T) {
	root := command()
	out := new(bytes.Buffer)
	root.SetOut(out)
	root.SetArgs([]string{"--help"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--namespaces", "--tls-cert-file", "--leader-elect", "--allow-internal-addresses", "--audit-log"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("the help lacks %s", flag)
		}
	}
}
