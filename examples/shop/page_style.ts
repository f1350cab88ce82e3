/** The style of the page: light and dark, phone and desk. */
export const STYLE = `
  :root { color-scheme: light dark; --ink: #10202b; --paper: #f4f1ea; --card: #fffdf8; --line: #ddd5c5; --sea: #0b6468; --warn: #9c3413; --ok: #1a6339; --soft: #4c5a62; --code: #f0ebe0; --string: #1a6339; --key: #6d3a8c; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e8edef; --paper: #0e161b; --card: #16222a; --line: #2a3a44; --sea: #5ccfcc; --warn: #ff9d80; --ok: #7bd8a1; --soft: #a9b8bf; --code: #0f1a20; --string: #7bd8a1; --key: #d3a8f0; } }
  * { box-sizing: border-box; }
  body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
  header, main, footer { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1.25rem; }
  header { padding-bottom: 0; }
  h1 { font: 700 clamp(1.8rem, 5vw, 2.8rem)/1.1 Georgia, serif; margin: 0 0 .4rem; }
  h2 { font: 700 1.3rem/1.2 Georgia, serif; margin: 0 0 .3rem; }
  h3 { font: 600 .8rem/1.2 system-ui, sans-serif; color: var(--soft); margin: .8rem 0 .25rem; }
  p { margin: 0 0 .9rem; color: var(--soft); }
  .lead { max-width: 48rem; }
  .skip { position: absolute; left: -99rem; }
  .skip:focus { left: .5rem; top: .5rem; background: var(--card); color: var(--sea); padding: .6rem; z-index: 1; }
  .picture { display: grid; gap: 1.1rem; justify-items: center; max-width: 41rem; margin: .5rem 0 .75rem; font-weight: 600; font-size: .9rem; }
  .picture > div { display: flex; flex-wrap: wrap; gap: .4rem; justify-content: center; position: relative; }
  .picture > div + div::before { content: "↓"; position: absolute; top: -1.25rem; left: 50%; translate: -50%; color: var(--soft); }
  .picture span { padding: .3rem .7rem; border: 1.5px solid var(--line); border-radius: 8px; background: var(--card); text-align: center; }
  .picture .contracts span { border-color: var(--sea); } .picture .engine span { background: var(--sea); border-color: var(--sea); color: var(--card); }
  .switch { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; } .switch p { margin: 0; flex: 1 1 18rem; }
  main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 33rem), 1fr)); align-items: start; outline: none; }
  section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 1.25rem; min-width: 0; }
  .row { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-bottom: .9rem; }
  button { font: 600 .95rem system-ui, sans-serif; padding: .6rem .95rem; border-radius: 9px; border: 1px solid var(--sea); background: var(--sea); color: var(--card); cursor: pointer; min-height: 44px; }
  button.quiet { background: transparent; color: var(--sea); }
  button[aria-pressed=true] { background: var(--warn); border-color: var(--warn); color: var(--card); }
  button[aria-disabled=true] { cursor: progress; border-style: dashed; }
  :focus-visible { outline: 3px solid var(--warn); outline-offset: 2px; }
  input { font: inherit; padding: .55rem .7rem; border-radius: 9px; border: 1px solid var(--soft); background: var(--paper); color: var(--ink); min-height: 44px; width: 9rem; }
  ul { list-style: none; margin: 0; padding: 0; }
  li { padding: .35rem 0; border-top: 1px solid var(--line); }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: left; padding: .35rem .6rem .35rem 0; border-top: 1px solid var(--line); white-space: nowrap; }
  th { color: var(--soft); font-weight: 600; border: 0; }
  section:last-child:nth-child(odd) { grid-column: 1 / -1; }
  .ok { color: var(--ok); font-weight: 700; } .no { color: var(--warn); font-weight: 700; }
  .sum { font-weight: 600; color: var(--ink); min-height: 1.5em; }
  .fault { margin-top: .6rem; color: var(--warn); border: 1px solid var(--warn); border-radius: 9px; padding: .6rem .8rem; }
  .busy::before { content: ""; display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 2px solid var(--sea); border-top-color: transparent; border-radius: 50%; animation: turn 1s linear infinite; }
  @keyframes turn { to { transform: rotate(1turn); } }
  @media (prefers-reduced-motion: reduce) { .busy::before { animation: none; } }
  .how { border-top: 1px solid var(--line); margin-top: .9rem; padding-top: .3rem; }
  summary { cursor: pointer; padding: .65rem 0; font-weight: 600; color: var(--sea); min-height: 44px; }
  pre { margin: 0; padding: .7rem .8rem; background: var(--code); border: 1px solid var(--line); border-radius: 9px; white-space: pre-wrap; overflow-wrap: anywhere; font: .78rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; color: var(--ink); }
  pre .c { color: var(--soft); } pre .s { color: var(--string); } pre .k { color: var(--key); }
  .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  footer p { margin: 0; }
  @media (max-width: 30rem) { header, main, footer { padding-inline: .75rem; } section { padding: 1rem; } table { font-size: .78rem; } th, td { padding-right: .4rem; } }
`;
