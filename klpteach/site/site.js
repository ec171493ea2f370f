'use strict';
// The site's only script: the theme, the explorers, what a reader predicted, the grid and the talk. It asks no network for
// anything: packs of frames are scripts in a folder beside it, because a page opened from a disk may run those and read nothing.
const klp = (() => {
  const root = new URL('.', document.currentScript.src).href;
  const all = (selector, where = document) => [...where.querySelectorAll(selector)];
  const escape = text => String(text).replace(/[&<>"']/g, letter => `&#${letter.charCodeAt(0)};`);
  const TONES = {'✓': 'good', '✗': 'bad', '!': 'warn'};
  let kernels = {};

  // -- what is kept in this browser; a private window loses it, and nothing else --------------------------------------------
  const keep = {
    get(key, otherwise) {
      try { return JSON.parse(localStorage.getItem(`klpteach:${key}`)) ?? otherwise; } catch { return otherwise; }
    },
    set(key, value) {
      try { localStorage.setItem(`klpteach:${key}`, JSON.stringify(value)); } catch { /* not kept */ }
    },
    forget() { ['predicted', 'expected'].forEach(key => keep.set(key, {})); },
  };

  // -- light and dark -------------------------------------------------------------------------------------------------------
  const page = document.documentElement;
  page.classList.add('js');
  const theme = keep.get('theme', null);
  if (theme === 'light' || theme === 'dark') page.dataset.theme = theme;

  function themeButton() {
    const button = document.getElementById('theme');
    const dark = () => (page.dataset.theme ?? (matchMedia('(prefers-color-scheme:dark)').matches ? 'dark' : 'light')) === 'dark';
    const say = () => { button.textContent = dark() ? 'Light' : 'Dark'; };
    button.onclick = () => { page.dataset.theme = dark() ? 'light' : 'dark'; keep.set('theme', page.dataset.theme); say(); };
    button.hidden = false;
    say();
  }

  function reachable(where) {  // a box that can be scrolled can be reached by keyboard
    for (const box of all('.out,.scroll,.md,pre,.pane', where)) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    }
  }

  // -- packs: "x86_64/reload/6.1" -> {head, frame(number)} ------------------------------------------------------------------
  const asked = new Map(), arrived = new Map(), opened = new Map();

  function fetchPack(name) {
    if (!asked.has(name)) {
      asked.set(name, new Promise((done, failed) => {
        const script = document.createElement('script');
        arrived.set(name, done);
        script.src = `${root}packs/${name}.js`;
        script.onerror = () => failed(new Error(`packs/${name}.js is not there`));
        document.head.append(script);
      }).then(inflate).then(pack => opened.set(name, pack)));
    }
    return asked.get(name);
  }

  async function inflate(text) {
    const letters = atob(text), squeezed = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at++) squeezed[at] = letters.charCodeAt(at);
    const stream = new Blob([squeezed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
    const [first, ...pieces] = (await new Response(stream).text()).split('\0'), head = JSON.parse(first);
    return {head, frame: number => head.frames[number].map(piece => pieces[piece]).join('')};
  }

  // -- the explorer ---------------------------------------------------------------------------------------------------------
  const COMMAND = 0, ALONE = 1, BESIDE = 2, MARK = 3, SYMBOL = 4, KIND = 5, HEADLINE = 6, BECAUSE = 7;
  const ANSWERS = [['it works', 'works'], ['it is refused', 'refused'], ['the kernel oopses', 'oops']];
  const KIND_OF_ANSWER = {refused: 'refused', 'in-use': 'refused', exists: 'refused', oops: 'oops'};
  const AS_BUTTONS = 14;  // a longer story has a slider
  let count = 0;

  class Explorer {
    constructor(element) {
      const {arch, story, release, mix, right, rightMix, step} = element.dataset;
      this.element = element;
      this.frame = element.querySelector('.frame');
      this.id = `ex${++count}`;
      Object.assign(this, {arch, story, step: Number(step ?? 0)});
      this.sides = [this.side('Left', release, mix), this.side('Right', right ?? this.otherRelease(release), rightMix)];
      this.two = right !== undefined;
      this.asks = false;
      this.shown = new Set();
      this.note = this.before = '';
      this.build();
      this.whenTold(() => this.draw(), () => this.later());
    }

    side(name, release, mix) { return {name, release, on: new Set((mix || '').split('+').filter(Boolean))}; }
    otherRelease(release) { return this.releases().filter(one => one !== release).at(-1) ?? release; }
    get offered() { return kernels[this.arch]; }
    releases() { return this.offered.stories[this.story][1]; }
    seen() { return this.two ? this.sides : this.sides.slice(0, 1); }
    packName(side) { return `${this.arch}/${this.story}/${side.release}`; }
    name(side) { return side.on.size ? [side.release, ...this.labels(side)].join(' + ') : `${side.release} as it is`; }
    labels(side) { return this.mix(side).split('+').filter(Boolean).map(name => this.offered.proposals[name][0]); }
    mix(side) { return Object.keys(this.offered.proposals).filter(name => side.on.has(name)).join('+'); }
    pack(side) { return opened.get(this.packName(side)); }
    rows(side) { const {head} = this.pack(side); return head.runs[head.mixes[this.mix(side)]]; }
    row(side) { const rows = this.rows(side); return rows[Math.min(this.step, rows.length - 1)]; }
    get longest() { return this.seen().map(side => this.rows(side)).reduce((a, b) => (b.length > a.length ? b : a)); }
    get last() { return this.longest.length - 1; }

    // Now, where the packs are open; else when they are.
    whenTold(then, after = () => {}) {
      const missing = this.seen().map(side => this.packName(side)).filter(name => !opened.has(name));
      if (!missing.length) { then(); after(); return; }
      Promise.all(missing.map(fetchPack)).then(() => { then(); after(); }, error => this.broken(error));
    }

    broken(error) {
      const why = typeof DecompressionStream === 'undefined' ? 'This browser cannot unpack the steps.' : `${error.message}.`;
      this.live.textContent = `${why} What you see is one step, as a picture.`;
      this.live.className = 'jump';
    }

    // The other releases of a story, once there is time: a switch then finds them open.
    later() {
      const next = () => this.releases().forEach(release => fetchPack(`${this.arch}/${this.story}/${release}`).catch(() => {}));
      (window.requestIdleCallback ?? (run => setTimeout(run, 300)))(next);
    }

    build() {
      const box = document.createElement('div');
      box.className = 'controls';
      box.innerHTML = `<form class="ctl"><label>Machine <select name="arch"></select></label>
        <label>Story <select name="story"></select></label><span class="sides-of"></span>
        <span class="boxes"><label><input type="checkbox" name="two"> Compare two kernels</label>
        <label><input type="checkbox" name="asks"> Ask me first</label></span>
        <details class="props"><summary>Proposals <span class="on"></span></summary><div class="grid"></div><p class="hint"></p></details></form>
        <div class="steps"><button type="button" class="back">Back</button><button type="button" class="next pri">Next</button>
        <b class="where"></b><div class="strip-of"></div></div>
        <form class="ask" hidden><fieldset><legend>I expect:</legend>${ANSWERS.map(([words, value]) =>
          `<label><input type="radio" name="answer" value="${value}"> ${words}</label>`).join('')}</fieldset>
        <button class="pri">Show</button></form>`;
      this.element.querySelector('h2').after(box);
      this.live = document.createElement('p');
      this.live.className = 'sr';
      this.live.setAttribute('role', 'status');
      this.frame.after(this.live);
      this.part = selector => box.querySelector(selector);
      this.part('[name=arch]').innerHTML = Object.keys(kernels).map(arch => `<option>${arch}</option>`).join('');
      this.part('.props').open = matchMedia('(min-width:1000px)').matches;
      this.choices();
      this.connect(box);
    }

    // Everything that depends on machine and story.
    choices() {
      const {stories, proposals} = this.offered, options = (list, chosen) =>
        list.map(([value, words]) => `<option value="${value}"${value === chosen ? ' selected' : ''}>${escape(words)}</option>`).join('');
      this.part('[name=arch]').value = this.arch;
      this.part('[name=story]').innerHTML = options(Object.entries(stories).map(([name, [title]]) => [name, title]), this.story);
      this.part('.sides-of').innerHTML = this.sides.map((side, number) => `<label data-side="${number}"><span></span>
        <select name="release" data-side="${number}">${options(this.releases().map(name => [name, name]), side.release)}</select></label>`).join(' ');
      this.part('.grid').innerHTML = Object.entries(proposals).map(([name, [label, summary]]) =>
        `<div class="prop" data-summary="${escape(summary)}">${this.sides.map((side, number) => this.box(side, number, name, label)).join('')}</div>`).join('');
      this.part('.hint').id = `${this.id}-hint`;
      this.dress();
    }

    box(side, number, name, label) {
      const words = number ? `<span class="sr">${escape(label)}, right</span>` : `<span class="name">${escape(label)}<span class="sr of"></span></span>`;
      return `<label data-side="${number}"><input type="checkbox" name="${name}" data-side="${number}" aria-describedby="${this.id}-hint"${
        side.on.has(name) ? ' checked' : ''}><span class="lr" aria-hidden="true">${'LR'[number]}</span>${words}</label>`;
    }

    dress() {
      this.part('[name=two]').checked = this.two;
      this.part('[name=asks]').checked = this.asks;
      all('[data-side="1"]', this.element).forEach(one => { one.hidden = !this.two; });
      all('.lr', this.element).forEach(one => { one.hidden = !this.two; });
      all('.sides-of span', this.element).forEach((one, number) => { one.textContent = this.two ? ['Left kernel', 'Right kernel'][number] : 'Kernel'; });
      all('.of', this.element).forEach(one => { one.textContent = this.two ? ', left' : ''; });
      const said = this.seen().map(side => (this.two ? `${side.name.toLowerCase()}: ` : '') +
        (this.labels(side).join(', ') || 'none on'));
      this.part('.on').textContent = said.join('; ');
    }

    connect(box) {
      this.part('.back').onclick = () => this.walk(-1);
      this.part('.next').onclick = () => this.walk(+1);
      this.part('.ctl').onsubmit = event => event.preventDefault();
      this.part('.ctl').onchange = event => this.changed(event.target);
      this.part('.ask').onsubmit = event => { event.preventDefault(); this.reveal(); };
      const explain = event => {
        const one = event.target.closest('.prop');
        if (one) this.part('.hint').textContent = one.dataset.summary;
      };
      box.addEventListener('focusin', explain);
      box.addEventListener('mouseover', explain);
      this.part('.strip-of').addEventListener('click', event => {
        const button = event.target.closest('button');
        if (button) this.go(Number(button.dataset.step));
      });
      this.part('.strip-of').addEventListener('input', event => this.go(Number(event.target.value) - 1));
      this.element.addEventListener('keydown', event => this.key(event));
    }

    key(event) {
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches('select,[type=radio],[type=range]')) return;
      const steps = {ArrowLeft: this.step - 1, ArrowRight: this.step + 1, Home: 0, End: this.last};
      const to = steps[event.key] ?? (/^[1-9]$/.test(event.key) ? Number(event.key) - 1 : undefined);
      if (to === undefined || !this.pack(this.sides[0])) return;
      event.preventDefault();
      this.go(to);
    }

    changed(control) {
      const side = this.sides[control.dataset.side ?? 0];
      if (control.name === 'asks') { this.asks = control.checked; this.shown.clear(); this.go(this.step); }
      else if (control.name === 'two') { this.two = control.checked; this.dress(); this.whenTold(() => this.go(Math.min(this.step, this.last))); }
      else if (control.name === 'story') this.newStory(control.value);
      else if (control.name === 'arch') this.newArch(control.value);
      else if (control.name === 'release') this.again(side, `Kernel ${control.value}`, () => { side.release = control.value; });
      else this.toggle(side, control);
    }

    newStory(story) {
      this.story = story;
      for (const side of this.sides) if (!this.releases().includes(side.release)) side.release = this.releases()[0];
      this.choices();
      this.shown.clear();
      this.whenTold(() => this.go(0), () => this.later());
    }

    newArch(arch) {
      const dropped = new Set();
      this.again(this.sides[0], `Machine ${arch}`, () => {
        const old = this.offered.proposals;
        this.arch = arch;
        if (!this.offered.stories[this.story]) this.story = Object.keys(this.offered.stories)[0];
        for (const side of this.sides) {
          if (!this.releases().includes(side.release)) side.release = this.releases()[0];
          for (const name of [...side.on]) if (!this.offered.proposals[name]) { side.on.delete(name); dropped.add(old[name][0]); }
        }
        this.choices();
      }, () => (dropped.size ? ` Not on this machine: ${[...dropped].join(', ')}.` : ''));
    }

    toggle(side, box) {
      const others = [...side.on].filter(name => name !== box.name);
      let reason = box.checked && others.map(name => this.offered.refused[`${box.name}+${name}`]).find(Boolean);
      if (box.checked && others.length > 1) reason = reason || 'these pages know every two together; the notebook tells any mix.';
      if (reason) {
        box.checked = false;
        Object.assign(this, {note: `Not switched on: ${reason}`, before: ''});
        this.draw(true);
        return;
      }
      this.again(side, `${this.offered.proposals[box.name][0]}, ${box.checked ? 'on' : 'off'}`, () => {
        if (box.checked) side.on.add(box.name); else side.on.delete(box.name);
      });
    }

    // The same story on another kernel: stay at the step, or go to the first one that comes out differently, and say so.
    again(side, what, change, extra = () => '') {
      const before = this.rows(side), at = this.step, name = this.two && !what.startsWith('Machine') ? `${side.name}: ` : '';
      change();
      this.dress();
      this.whenTold(() => {
        const now = this.rows(side), first = firstDifference(before, now);
        const step = Math.min(first === null || first >= at ? at : first, this.last);
        if (step !== at) this.shown.clear();
        Object.assign(this, {step, before: '', note: whatChanged(name + what, first, at, step) + extra()});
        this.draw(true);
      }, () => this.later());
    }
    walk(by) {
      const to = this.step + by;
      if (to >= 0 && to <= this.last) { this.go(to); return; }
      this.note = by > 0 ? 'This is the last step.' : 'This is the first step.';
      this.draw(true);
    }

    go(step) {
      this.step = Math.max(0, Math.min(step, this.last));
      this.note = this.before = '';
      this.draw(true);
    }
    get hidden() { return this.asks && !this.shown.has(this.step); }

    reveal() {
      const chosen = this.part('[name=answer]:checked')?.value;
      this.shown.add(this.step);
      this.note = this.before = '';
      if (chosen) {
        const right = (KIND_OF_ANSWER[this.row(this.sides[0])[KIND]] ?? 'works') === chosen;
        this.before = `You expected: ${ANSWERS.find(([, value]) => value === chosen)[0]}. ${right ? 'So it is.' : 'It came out differently:'}`;
        const kept = keep.get('expected', {});
        (kept[`${this.packName(this.sides[0])}/${this.mix(this.sides[0])}/${this.step + 1}`] ??= []).push(chosen);
        keep.set('expected', kept);
      }
      this.draw(true);
      this.part('.next').focus();
    }

    draw(say = false) {
      this.frame.innerHTML = this.two ? this.compared() : this.alone();
      const head = this.frame.querySelector('.same,.v');
      if (this.before) head.insertAdjacentHTML('afterbegin', `<span class="note">${escape(this.before)}</span>`);
      if (this.note) head.insertAdjacentHTML('beforeend', `<span class="note">${escape(this.note)}</span>`);
      const form = this.part('.ask');
      if (this.hidden && form.hidden) form.reset();
      form.hidden = !this.hidden;
      this.strip();
      reachable(this.frame);
      if (say) this.say();
    }
    own(html, number) { return html.replaceAll('kxhatch', `${this.id}-${number}`); }
    question() {
      const where = `Step ${this.step + 1}: <code>${escape(this.longest[this.step][COMMAND])}</code>. Choose, then press Show.`;
      return `<div class="v ask"><strong>? What will happen?</strong> <span>${where} Below: before this step.</span></div>`;
    }

    // One kernel. While the outcome is asked for, what was before it stands below the question.
    alone() {
      const [side] = this.sides, pack = this.pack(side);
      if (!this.hidden) return this.own(pack.frame(this.row(side)[ALONE]), 0);
      if (!this.step) return `<div class="kx">${this.question()}</div>`;
      const html = this.own(pack.frame(this.rows(side)[this.step - 1][ALONE]), 0), start = html.indexOf('<div class="v ');
      return html.slice(0, start) + this.question() + html.slice(html.indexOf('</div>', start) + 6);
    }

    compared() {
      const [left, right] = this.sides.map(side => this.row(side));
      const where = `Step ${this.step + 1} of ${this.last + 1}: <code>${escape(this.longest[this.step][COMMAND])}</code>.`;
      const gone = this.step >= Math.min(...this.sides.map(side => this.rows(side).length));
      const equal = left[KIND] === right[KIND] && left[HEADLINE] === right[HEADLINE];
      let words = gone ? '≠ One kernel is gone.' : equal ? '= The same outcome.' : '≠ Different outcomes.';
      if (this.hidden) words = '? What will happen on each? Choose for the left one, then press Show.';
      const sides = this.sides.map((side, number) => {
        const rows = this.rows(side), at = Math.min(this.step, rows.length - 1) - (this.hidden ? 1 : 0);
        const ended = this.step > rows.length - 1 ? ` (ended at step ${rows.length})` : '';
        const picture = at < 0 ? '' : this.own(this.pack(side).frame(rows[at][BESIDE]), number);
        return `<div class="side"><h3>${escape(this.name(side))}${ended}${this.hidden ? ', before this step' : ''}</h3>${picture}</div>`;
      });
      return `<div class="kx"><div class="same"><b>${words}</b> ${where}</div><div class="sides">${sides.join('')}</div></div>`;
    }

    // A button a step, with its outcome once it was reached; a slider where there are many.
    strip() {
      const rows = this.longest, box = this.part('.strip-of'), many = rows.length > AS_BUTTONS;
      this.part('.where').textContent = `Step ${this.step + 1} of ${rows.length}`;
      if (many) {
        if (!box.querySelector('input')) box.innerHTML = '<input type="range" min="1" aria-label="Step">';
        Object.assign(box.firstChild, {max: rows.length, value: this.step + 1});
        return;
      }
      const held = box.contains(document.activeElement);
      box.innerHTML = `<ol>${rows.map((_, at) => this.stepButton(at)).join('')}</ol>`;
      if (held) box.querySelector('[aria-current]').focus();
    }

    stepButton(at) {
      const told = this.seen().map(side => this.rows(side)[at]).filter(Boolean), known = at < this.step || (at === this.step && !this.hidden);
      const [verb, ...rest] = told[0][COMMAND].split(' '), file = (rest.join(' ').split('/').pop() || '').replace('.ko', '');
      const signs = known ? told.map(row => `<i class="${TONES[row[SYMBOL]] ?? ''}">${row[SYMBOL]}</i>`).join(' ') : '';
      const words = known ? told.map(row => row[HEADLINE]).join(' ') : 'not reached';
      return `<li><button type="button" data-step="${at}" class="${known ? '' : 'to-come'}"${at === this.step ? ' aria-current="step"' : ''}>
        <b>${at + 1} ${signs}</b> <code>${escape(verb)} ${escape(file)}</code><span class="sr">: ${escape(words)}</span></button></li>`;
    }

    say() {
      const heard = this.hidden ? ['What will happen?'] : this.seen().map(side =>
        `${this.two ? `${side.name}: ` : ''}${this.row(side)[HEADLINE]} ${this.row(side)[BECAUSE]}`);
      this.live.textContent = [`Step ${this.step + 1}.`, this.before, ...heard, this.note].filter(Boolean).join(' ');
    }
  }

  // As klpteach/reading/differences.py has it.
  function firstDifference(old, now) {
    const at = old.findIndex((row, index) => row[MARK] !== now[index]?.[MARK]);
    return at >= 0 ? at : old.length < now.length ? old.length : null;
  }

  function whatChanged(what, first, at, step) {
    if (first === null) return `${what}: this story comes out the same.`;
    if (step !== at) return `${what}: step ${first + 1} is the first that comes out differently.`;
    if (first === at) return `${what}: this step comes out differently.`;
    return `${what}: from step ${first + 1} on it comes out differently.`;
  }

  // "#arch=ppc64le&story=moved&release=6.12&mix=reuse-stub" on the explorer's own page.
  function fromAddress(element) {
    if (element.dataset.address === undefined) return;
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    if (kernels[given.arch]?.stories[given.story]?.[1].includes(given.release)) Object.assign(element.dataset, given);
  }

  // -- predictions ----------------------------------------------------------------------------------------------------------
  function prediction(form) {
    const name = form.dataset.question, said = form.querySelector('.said'), reply = choice =>
      form.querySelector(`template[data-reply="${CSS.escape(choice)}"]`)?.innerHTML;
    const before = keep.get('predicted', {})[name]?.[0];
    if (before && reply(before)) {
      form.querySelector(`[value="${CSS.escape(before)}"]`).checked = true;
      said.innerHTML = `<p>You committed to this.</p>${reply(before)}`;
    }
    form.onsubmit = event => {
      event.preventDefault();
      const choice = form.querySelector(':checked')?.value;
      if (!choice) { said.textContent = 'Choose an answer first.'; return; }
      const kept = keep.get('predicted', {});
      kept[name] = [...new Set([...(kept[name] ?? []), choice])];
      keep.set('predicted', kept);
      said.innerHTML = reply(choice);
    };
  }

  function progress() {
    const kept = keep.get('predicted', {});
    for (const one of all('[data-questions]')) {
      const names = one.dataset.questions.split(' ').filter(Boolean), done = names.filter(name => kept[name]).length;
      if (done) one.textContent = `${done === names.length ? '✓ ' : ''}${done} of ${names.length} predicted`;
    }
    const forget = document.getElementById('forget');
    if (forget) forget.onclick = () => { keep.forget(); location.reload(); };
  }

  // -- the grid of consequences ---------------------------------------------------------------------------------------------
  function grid(form) {
    const said = document.getElementById('cell-says');
    const show = () => {
      const kernel = form.kernel.value, only = form.bad.checked, words = form.words.value.trim().toLowerCase(), wanted = form.proposal.value;
      for (const table of all('table[data-kernel]')) {
        table.closest('.scroll').hidden = kernel !== '' && table.dataset.kernel !== kernel;
        for (const cell of all('[data-mix]', table)) {
          cell.hidden = wanted !== '' && cell.dataset.mix !== '' && !cell.dataset.mix.split('+').includes(wanted);
        }
        for (const row of table.tBodies[0].rows) {
          const bad = all('td.no', row).some(cell => !cell.hidden);
          row.hidden = (only && !bad) || !row.cells[0].textContent.toLowerCase().includes(words);
        }
        table.parentElement.querySelector('p').hidden = [...table.tBodies[0].rows].some(row => !row.hidden);
      }
      all('.scroll').forEach(box => { box.tabIndex = 0; });
    };
    form.oninput = show;
    form.onsubmit = event => event.preventDefault();
    show();
    document.addEventListener('click', event => {
      const button = event.target.closest('td[data-mix] button');
      if (!button) return;
      all('td[data-mix] [aria-pressed]').forEach(one => one.removeAttribute('aria-pressed'));
      button.setAttribute('aria-pressed', 'true');
      said.innerHTML = `${escape(button.dataset.says)}${button.dataset.link ? ` <a href="explorer.html#${escape(button.dataset.link)}">Look at it step by step</a>` : ''}`;
    });
  }

  // -- the talk -------------------------------------------------------------------------------------------------------------
  function deck(element) {
    const slides = all('.slide', element), where = document.getElementById('slide-number');
    let at = Math.max(0, Math.min(slides.length, Number(location.hash.slice(1)) || 1) - 1);
    const go = to => {
      at = Math.max(0, Math.min(slides.length - 1, to));
      slides.forEach((slide, number) => { slide.hidden = number !== at; });
      where.textContent = `${at + 1} of ${slides.length}`;
      history.replaceState(null, '', `#${at + 1}`);
      reachable(slides[at]);
    };
    page.classList.add('staged');
    document.getElementById('slide-back').onclick = () => go(at - 1);
    document.getElementById('slide-next').onclick = () => go(at + 1);
    document.getElementById('slide-notes').onclick = () => page.classList.toggle('with-notes');
    addEventListener('hashchange', () => go((Number(location.hash.slice(1)) || 1) - 1));
    addEventListener('keydown', event => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches('button,a,input,summary') && [' ', 'Enter'].includes(event.key)) return;
      const to = {ArrowRight: at + 1, PageDown: at + 1, ' ': at + 1, Enter: at + 1, ArrowLeft: at - 1, PageUp: at - 1,
        Home: 0, End: slides.length - 1}[event.key];
      if (event.key === 'n') page.classList.toggle('with-notes');
      if (to !== undefined) { event.preventDefault(); go(to); }
    });
    go(at);
  }

  document.addEventListener('DOMContentLoaded', () => {
    themeButton();
    for (const element of all('section.ex')) {
      fromAddress(element);
      const {arch, story, release} = element.dataset, told = kernels[arch]?.stories[story]?.[1].includes(release);
      if (told) element.explorer = new Explorer(element);  // else it stays a picture
    }
    all('form.pred').forEach(prediction);
    all('form.flt').forEach(grid);
    all('.deck').forEach(deck);
    progress();
    reachable(document);
  });

  return {
    kernels: offered => { kernels = offered; },
    pack: (name, text) => arrived.get(name)(text),
  };
})();
