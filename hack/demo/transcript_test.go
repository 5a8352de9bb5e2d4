package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var updateGolden = flag.Bool("update", false, "write testdata/transcript.txt anew")

// TestTranscript holds what a reader sees against testdata/transcript.txt.
func TestTranscript(t *testing.T) {
	var b bytes.Buffer
	play(&transcript{out: &b})
	golden := filepath.Join("testdata", "transcript.txt")
	if *updateGolden {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("it differs; if it should, run this test with -update:\n%s", diff)
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if width := utf8.RuneCountInString(line); width > columns {
			t.Errorf("a line is %d columns wide: %s", width, line)
		}
	}
	var colored bytes.Buffer
	play(&transcript{out: &colored, color: true})
	if !strings.Contains(colored.String(), string(green)) || strings.Contains(b.String(), "\x1b") {
		t.Error("color is not where it is asked for, or is where it is not")
	}
}

func play(t *transcript) {
	long := strings.Repeat("a sentence that is too long for one line, ", 4) + "and its end"
	t.say(long)
	t.step("What happens.")
	t.note(long)
	t.command("kubectl apply -f - <<EOF\nkind: TokenIssuer\nEOF")
	t.output("NAME   ACTIVE-KEY                                    AGE\nshop   " + strings.Repeat("k", 43) + "   3s\n")
	t.output(strings.Repeat("words ", 30))
	t.held(long)
	t.number = 9
	t.step(long)
	t.failed((&broken{"the token is good", "200", "401 Revoked\n"}).Error() + "\n\n" + long)
}

func TestTranscriptIntoAFileHasNoColor(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "transcript"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if newTranscript(file).color {
		t.Error("a file is taken for a terminal")
	}
}
