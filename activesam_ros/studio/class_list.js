// The list of classes. Names reach the page through interpolation and attributes only, never as markup.
// Rows keep their elements while what they show changes, so that the focus, and what is being typed, stay.

const shown = {
  // The value of a field, written when it changes, or when an edit was refused; not while somebody types.
  mounted: (element, { value }) => (element.value = value[0]),
  updated: (element, { value, oldValue }) => {
    if (value[0] !== oldValue[0] || value[1] !== oldValue[1]) element.value = value[0];
  },
};

export default {
  directives: { shown },
  props: { rows: Array, edit: Boolean, limit: Number, refused: Number, chosen: Number },
  emits: ["named", "asking", "colour", "moved", "removed", "chosen"],
  data: () => ({ sort: "order", wanted: "" }),
  computed: {
    listed() {
      const wanted = this.wanted.trim().toLowerCase();
      const rows = wanted
        ? this.rows.filter((row) => (row.name + " " + row.prompts).toLowerCase().includes(wanted))
        : [...this.rows];
      if (this.sort === "active") rows.sort((one, other) => other.active - one.active);
      if (this.sort === "name") rows.sort((one, other) => one.name.localeCompare(other.name));
      if (this.sort === "presence") rows.sort((one, other) => (other.presence ?? -1) - (one.presence ?? -1));
      if (this.sort === "share") rows.sort((one, other) => other.share - one.share);
      return rows;
    },
  },
  methods: {
    changed(kind, row, event) {
      this.$emit(kind, row.id, event.target.value);
    },
    percent(part) {
      return part >= 0.0005 ? (100 * part).toFixed(1) + " %" : "";
    },
  },
  template: `
    <div class="st-list">
      <div class="st-line st-lead">
        <span></span>
        <input class="st-cell" type="search" v-model="wanted" placeholder="find a class" aria-label="find a class">
        <span class="st-soft st-asks">asks for</span>
        <span class="st-soft">presence</span>
        <select v-model="sort" class="st-sort" aria-label="order of the list">
          <option value="order">in order</option>
          <option value="active">active first</option>
          <option value="name">by name</option>
          <option value="presence">by presence</option>
          <option value="share">by share</option>
        </select>
      </div>
      <div class="st-lines" tabindex="-1">
        <div v-for="(row, index) in listed" :key="sort === 'order' ? index : row.id" class="st-line"
          :class="{'st-off': !row.active, 'st-chosen': row.id === chosen}" :data-class="row.name">
          <input type="color" v-shown="[row.colour, refused]" :disabled="!edit" :aria-label="'colour of ' + row.name"
            @change="changed('colour', row, $event)">
          <input class="st-cell st-name" v-shown="[row.name, refused]" :disabled="!edit" maxlength="1000"
            spellcheck="false" autocomplete="off" :aria-label="'name of ' + row.name"
            @keydown.enter="$event.target.blur(); $event.target.focus()"
            @keydown.esc="$event.target.value = row.name" @change="changed('named', row, $event)">
          <input class="st-cell st-prompts" v-shown="[row.prompts, refused]" :disabled="!edit" maxlength="4000"
            placeholder="its name" spellcheck="false" autocomplete="off"
            :aria-label="'what ' + row.name + ' asks for'"
            @keydown.enter="$event.target.blur(); $event.target.focus()"
            @keydown.esc="$event.target.value = row.prompts" @change="changed('asking', row, $event)">
          <div class="st-found" :title="row.reason || row.said">
            <div class="st-bar" role="img" :aria-label="'presence ' + row.said">
              <i :style="{width: 100 * (row.presence ?? 0) + '%'}"></i>
              <b v-if="limit > 0" :style="{left: 'min(' + 100 * limit + '%, 100% - 2px)'}"></b>
            </div>
            <span class="st-num">{{ percent(row.share) }}</span>
          </div>
          <div class="st-tools">
            <button type="button" :aria-pressed="row.id === chosen" title="show its score"
              :aria-label="'show the score of ' + row.name" @click="$emit('chosen', row.id)">&#9673;</button>
            <button type="button" :disabled="!edit || sort !== 'order'" title="move up"
              :aria-label="'move ' + row.name + ' up'" @click="$emit('moved', row.id, -1)">&#8593;</button>
            <button type="button" :disabled="!edit || sort !== 'order'" title="move down"
              :aria-label="'move ' + row.name + ' down'" @click="$emit('moved', row.id, 1)">&#8595;</button>
            <button type="button" :disabled="!edit" title="remove" :aria-label="'remove ' + row.name"
              @click="$emit('removed', row.id)">&#10005;</button>
          </div>
          <div v-if="row.reason" class="st-why">{{ row.reason }}</div>
        </div>
      </div>
    </div>`,
};
