/*
 * Words for invented container names: a mood, and somebody to whom networks or computing owe something.
 */

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

export const adjectives: readonly string[] = words(`
  able airy amber ample apt astute awake balmy bold brave breezy bright brisk calm candid careful cheerful civil clear
  clever cosy crisp curious daring deft devoted eager early earnest easy even exact fair faithful famous fervent fine
  firm fluent fond frank free fresh gallant generous gentle glad golden good grand happy hardy helpful honest hopeful
  humble jolly jovial keen kind lasting lively lucid lucky merry mild modest neat nimble noble patient placid plucky
  polite proud prudent quick quiet ready robust rosy serene sharp silent simple sincere sober steady stoic sunny sure
  swift tender thrifty tidy tranquil true trusty upbeat valiant vivid warm wise witty worthy zealous zesty
`);

export const surnames: readonly string[] = words(`
  abramson agnesi allen antonelli babbage backus baran bardeen bartik bellovin bernerslee bigelow boole borg boyle
  cerf cheriton chomsky church clark cocke conway cray curie dahl dantzig davies deering diffie dijkstra easley
  eckert elion engelbart estrin euler faraday feinler fermat feynman floyd franklin galois gauss germain goedel goldberg
  goldwasser hamilton hamming hellman hoare holberton hopper huffman jacobson jennings johnson karels karn karp kay
  keller kernighan kleene kleinrock knuth kovalevskaya lamarr lamport lampson leibniz licklider liskov lovelace maxwell
  mccarthy mcclintock meitner merkle metcalfe mills minsky mockapetris napier naur neumann noether nygaard perlman
  perlis postel pouzin rabin ramanujan ritchie roberts sammet shannon sinclair spence stallman sutherland tanenbaum
  tarjan thompson torvalds turing vixie wallis wescoff wilkes wing wirth wozniak wu yao zuse
`);
