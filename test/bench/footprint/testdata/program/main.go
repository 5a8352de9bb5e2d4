// Command program has a function, a type and a variable, whose sizes are known about.
package main

import "fmt"

// large is in the file, because it is not all zeros.
var large = [1 << 20]byte{1}

type named struct{ first, second any }

func main() {
	fmt.Println(named{first: len(large), second: large[len(fmt.Sprint(large[0]))]})
}
